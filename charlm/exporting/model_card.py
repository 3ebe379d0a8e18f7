"""Model card: README.md of an exported model, with YAML front matter for model hubs."""

import json
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec

from charlm.cells.loader import citation, get_cell
from charlm.cells.names import cell_label, parse_custom_cell
from charlm.config import BUDGETS, Config, describe_block, option_metadata
from charlm.data.vocabulary import Vocabulary
from charlm.results.run import RunRecord, Score, ScoredSplit
from charlm.settings.model import CELL_OPTIONS
from charlm.settings.options import MACHINE

TAGS = ("character-language-model", "text-generation", "recurrent-neural-network")

NUMPY = """\
Python with numpy is enough; PyTorch and charlm are not needed:

    python char_lm.py "{prompt}" --length 200
    python char_lm.py --score book.txt

In a program, from this folder:

    from char_lm import CharLM

    model = CharLM()
    print(model.sample("{prompt}", 200, temperature=0.8))
    print(model.bits("some text").mean(), "bits per character")

In PyTorch, with charlm:

    import json
    from pathlib import Path

    import charlm
    import torch
    from charlm.models.char_lm import CharLM
    from safetensors.torch import load_file

    config = json.loads(Path("config.json").read_bytes())
    tokens = json.loads(Path("vocabulary.json").read_bytes())["tokens"]
    settings = {{name: config[name] for name in {settings}}}
    model = CharLM(charlm.Config(**settings), config["vocab_size"]).eval()
    model.load_state_dict(load_file("model.safetensors"))
    ids = torch.tensor([[tokens.index(ord(c))] for c in "{prompt}"])
    logits, state = model(ids, model.initial_state(1))  # (time, 1, vocab_size)
"""
CUSTOM_CELL = """
`model.safetensors` has the weights. The cell's own source is needed to build the module in PyTorch,
and is not in this folder. The graph, which the reader runs, has all that is computed.
"""
ONNX = """
ONNX: `start.onnx` has no inputs and returns `logits` of the first token and the initial states.
`model.onnx` is one step: it takes `token`, of shape (1,), and every state, and returns `logits` of
the next token and each state as `next.` and its name.
"""
# Fields of config.json that determine the modules of a CharLM.
SETTINGS = ["cell", "hidden_size", "num_layers", "embedding_dim"]
SETTINGS += ["tie_weights", "initial_state", "block", "conv", *CELL_OPTIONS]
LIMITS = """\
The model knows text of the kind it was trained on, and no other. It writes character by character
what is probable, not what is true, and may repeat passages of its training text word for word. What
that text says of people, it may say too. The score holds for the text above, read from its
beginning as one stream. {unknown}
"""


class CardFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of a run that its model card states."""

    record: RunRecord
    vocabulary: Vocabulary
    step: int  # of the checkpoint
    weights_sha256: str
    score: Score | None  # exact, of these weights
    scored_split: ScoredSplit
    validation_bits: float | None  # subsampled, of these weights
    has_onnx: bool


def model_card(facts: CardFacts) -> str:
    """Return the text of README.md."""
    config = facts.record.config
    cell, texts = cell_label(config.cell), ", ".join(text_names(facts.record))
    layers = "1 layer" if config.num_layers == 1 else f"{config.num_layers} layers"
    sections = [
        f"---\n{front_matter(facts)}---",
        f"# {cell}, {config.num_layers} × {config.hidden_size}, trained on {inline(texts)}",
        f"A character language model: {layers} of {config.hidden_size} units of the cell {cell} "
        f"({describe_block(config.block, config.conv)}), {facts.record.parameters:,} parameters. "
        f"Trained by charlm {inline(facts.record.environment.charlm)}.",
        f"## Score\n\n{describe_score(facts)}",
        f"## Use\n\n{usage(facts)}",
        f"## Training\n\n{training_table(facts)}",
        f"## Limits\n\n{LIMITS.format(unknown=describe_unknown(facts)).strip()}",
        f"## Cell\n\n{describe_cell(config.cell)}",
    ]
    return "\n\n".join(section.strip("\n") for section in sections) + "\n"


def front_matter(facts: CardFacts) -> str:
    """Return the YAML between the lines of dashes, with all text as JSON strings."""
    cell = cell_label(facts.record.config.cell)
    texts = text_names(facts.record)
    lines = [
        "library_name: charlm",
        "pipeline_tag: text-generation",
        "# license: unknown to charlm; name yours, such as mit",
        f"tags: {yaml([*TAGS, cell])}",
        f"datasets: {yaml(texts)}",
        f"metrics: {yaml(['bits_per_character'])}",
    ]
    if facts.score and facts.score.bits_per_char is not None:
        task = {"type": "text-generation", "name": "Character language modeling"}
        dataset = {"type": "text", "name": ", ".join(texts), "split": facts.scored_split}
        metric = {
            "type": "bits_per_character",
            "name": "bits per character, exact, one stream",
            "value": facts.score.bits_per_char,
        }
        results = [{"task": task, "dataset": dataset, "metrics": [metric]}]
        lines.append(f"model-index: {yaml([{'name': cell, 'results': results}])}")
    return "".join(f"{line}\n" for line in lines)


def yaml(value: Any) -> str:
    """Return a value as YAML in flow style: ASCII JSON, with characters beyond as YAML escapes."""

    def escape(character: str) -> str:
        return character if 32 <= ord(character) < 127 else f"\\U{ord(character):08x}"

    return "".join(escape(character) for character in json.dumps(value, ensure_ascii=False))


def inline(text: str) -> str:
    """Return a foreign text as inline code, on one line, which Markdown does not interpret."""
    printable = "".join(c if c.isprintable() and c not in "`|" else "�" for c in text)
    return f"`{printable}`"


def text_names(record: RunRecord) -> list[str]:
    """Return the names of the texts: of corpora, or of files without their directories."""
    return [Path(source).name or source for source in record.text.sources]


def describe_score(facts: CardFacts) -> str:
    """Return the exact score, or that there is none."""
    score, part = facts.score, f"the {facts.scored_split} split"
    reading = "each is read once, as one stream"
    if facts.record.config.documents != "none":
        reading += ", and the state starts anew at each document, as `char_lm.py` does not do"
    if score and score.bits_per_char is not None:
        return (
            f"**{score.bits_per_char:.4f} bits per character** on {score.characters:,} characters "
            f"of {part}, {score.unknown_tokens:,} of them unknown: "
            f"{reading} (protocol {inline(score.protocol)}).\n\n"
            f"SHA-256 of these characters: `{score.text_sha256}`"
        )
    if score:
        return f"**{score.bits_per_byte:.4f} bits per byte** on {score.bytes:,} bytes of {part}."
    if facts.validation_bits is not None:
        return (
            f"Not scored exactly. Validation on a sample: {facts.validation_bits:.4f} bits per "
            "token. `charlm eval` scores a run."
        )
    return "Not scored. `charlm eval` scores a run."


def usage(facts: CardFacts) -> str:
    """Return how to load the model in each way that the folder has."""
    names = " ".join(SETTINGS)
    text = NUMPY.format(prompt=known_prompt(facts.vocabulary), settings=f'"{names}".split()')
    if facts.record.cell_sha256:
        text = text[: text.index("In PyTorch")] + CUSTOM_CELL.lstrip()
    return text + (ONNX if facts.has_onnx else "")


def known_prompt(vocabulary: Vocabulary) -> str:
    """Return a prompt for examples: a word, or a letter or character that the model knows."""
    tokens = {chr(token) for token in vocabulary.tokens}
    letters = [c for c in map(chr, vocabulary.tokens) if c.isalnum()]
    return "The " if {*"The "} <= tokens else letters[0] if letters else ""


def training_table(facts: CardFacts) -> str:
    """Return text, budget, seed and all settings that determine the weights."""
    record = facts.record
    config, text, made = record.config, record.text, record.environment
    size = (
        f"{text.characters:,} characters"
        if text.characters
        else f"{sum(text.digest.parts):,} bytes"
    )
    splits = ", ".join(f"{name} {last - first:,}" for name, (first, last) in text.splits.items())
    per_step = config.batch_size * config.seq_len
    rows = [
        ("text", f"{inline(', '.join(text_names(record)))}, {size}"),
        ("SHA-256 of the text", f"`{text.digest.sha256}`"),
        ("splits (tokens)", splits),
        ("vocabulary", describe_vocabulary(facts.vocabulary)),
        ("budget", f"{record.max_steps:,} steps of {per_step:,} tokens"),
        ("weights of step", f"{facts.step:,}"),
        ("SHA-256 of the weights", f"`{facts.weights_sha256}`"),
        *((name, inline(value)) for name, value in shown_settings(config)),
        ("made with", f"charlm {inline(made.charlm)}, PyTorch {inline(made.torch)}"),
    ]
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join(line.replace("\n", " ") for line in lines)


def shown_settings(config: Config) -> Iterator[tuple[str, str]]:
    """Yield name and value of each setting that determines the weights."""
    for name in config.__struct_fields__:
        option = option_metadata(name)
        is_path = option.metavar in ("CELL", "GLOB", "PATH", "RUN")  # may name a home directory
        if (
            name not in BUDGETS
            and option.panel != MACHINE
            and not option.can_change
            and not is_path
        ):
            yield name, str(getattr(config, name))


def describe_vocabulary(vocabulary: Vocabulary) -> str:
    """Return what the tokens are."""
    if vocabulary.kind == "bytes":
        return "256 bytes"
    return f"{len(vocabulary.tokens):,} characters, and one token for all others"


def describe_unknown(facts: CardFacts) -> str:
    """Return what happens to characters that the model does not know."""
    if facts.vocabulary.kind == "bytes":
        return "It reads bytes, and so any text."
    return (
        f"It knows {len(facts.vocabulary.tokens):,} characters; any other is an unknown one, which "
        "it never writes."
    )


def describe_cell(cell: str) -> str:
    """Return citation and docstring of a cell."""
    cell_type = get_cell(cell)
    lines = cleandoc(cell_type.__doc__ or "").splitlines()
    equations = "\n".join(f"    {line}".rstrip() for line in lines)
    paper = citation(cell_type)
    if parse_custom_cell(cell) is None:
        paper += f" As BibTeX: `charlm cells bibtex {cell}`."
    return f"{paper}\n\n{equations}" if paper else equations
