"""Command `charlm sample`."""

import os
from collections.abc import Iterable
from itertools import chain, repeat
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from charlm import console
from charlm.cli.app import app
from charlm.cli.help import TRAIN
from charlm.cli.options import (
    CHECKPOINT,
    KERNEL,
    MOVED_CORPUS,
    QUIET,
    RUN,
    TRUST_CELL,
    make_progress,
)
from charlm.cli.values import standard_input
from charlm.errors import ConfigError

if TYPE_CHECKING:
    from charlm.results.samples import Novelty

CHOICE = "Choice of tokens, in this order"
RESULT = "Result"


@app.command(name="sample", rich_help_panel=TRAIN)
def sample_command(
    run: RUN,
    prompt: Annotated[
        str,
        typer.Option(
            "--prompt",
            "-p",
            metavar="TEXT",
            help="Text to begin with; - reads standard input.",
            show_default=False,
        ),
    ] = "",
    length: Annotated[
        int, typer.Option("--length", "-n", metavar="N", help="Tokens to generate.", min=0)
    ] = 500,
    stop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STRING",
            help="End a sample before this string. Can be repeated.",
            show_default=False,
        ),
    ] = None,
    num_samples: Annotated[
        int, typer.Option(metavar="N", help="Samples to generate, side by side.", min=1)
    ] = 1,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Go on with each line that you type.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed. [default: 0]", min=0)] = 0,
    allow: Annotated[
        str | None,
        typer.Option(
            metavar="CHARS",
            help="Characters to choose from, as in tr: 'a-z \\n', '[:alpha:] '.",
            rich_help_panel=CHOICE,
            show_default=False,
        ),
    ] = None,
    temperature: Annotated[
        float,
        typer.Option(
            metavar="FLOAT",
            help="Divides the logits; 0: the most probable token.",
            min=0.0,
            rich_help_panel=CHOICE,
        ),
    ] = 1.0,
    top_k: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Sample from the K most probable tokens; 0: from all.",
            min=0,
            rich_help_panel=CHOICE,
        ),
    ] = 0,
    top_p: Annotated[
        float,
        typer.Option(
            metavar="FLOAT",
            help="Sample from the fewest tokens with this total probability.",
            min=0.0,
            max=1.0,
            rich_help_panel=CHOICE,
        ),
    ] = 1.0,
    min_p: Annotated[
        float,
        typer.Option(
            metavar="FLOAT",
            help="Sample from tokens with this share of the largest probability.",
            min=0.0,
            max=1.0,
            rich_help_panel=CHOICE,
        ),
    ] = 0.0,
    novelty: Annotated[
        bool,
        typer.Option(
            "--novelty",
            help="Find what stands verbatim in the training text.",
            rich_help_panel=RESULT,
        ),
    ] = False,
    corpus: MOVED_CORPUS = None,
    logprobs: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="With --json: log-probabilities in nats of each token and of the top K.",
            min=0,
            rich_help_panel=RESULT,
            show_default=False,
        ),
    ] = None,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object per sample.", rich_help_panel=RESULT),
    ] = False,
    checkpoint: CHECKPOINT = "best",
    trust_cell: TRUST_CELL = "",
    kernel: KERNEL = "auto",
    quiet: QUIET = False,  # noqa: ARG001
) -> None:
    """Generate text and print it as it comes.

    Examples:
        $ charlm sample runs/code -p "def " --temperature 0.8
        $ echo "Once" | charlm sample runs/code -p - --num-samples 3 --stop "."
        $ charlm sample runs/code --interactive
        $ charlm sample runs/code --novelty

    The last line end of a prompt from standard input is left out.
    """
    if interactive:
        check_session(prompt, num_samples, json=json, novelty=novelty)
    if logprobs is not None and not json:
        raise ConfigError("cannot print --logprobs as text. Try --json")
    if corpus and not novelty:
        raise ConfigError(
            "cannot use --corpus alone: the text is read for --novelty. Try --novelty"
        )
    from charlm.cli.sample_session import run_session
    from charlm.evaluation.novelty import measure_novelty
    from charlm.evaluation.sample_writer import (
        Sample,
        SampleWriter,
        describe_sample,
        iter_samples,
    )
    from charlm.evaluation.sampling import SamplingSettings, check_sampling
    from charlm.evaluation.session import WritingSession
    from charlm.execution.device import select_device
    from charlm.execution.signals import raise_pending
    from charlm.models.token_step import generation_kernel
    from charlm.reporting.terminal.notes import print_unknown
    from charlm.reporting.terminal.samples import (
        print_novelty,
        print_sampling_notes,
        print_step_kernel,
    )
    from charlm.runs.restore import load_model
    from charlm.runs.run import load_run

    raise_pending()
    settings = SamplingSettings(
        allow=allow,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        stop=tuple(stop or ()),
        seed=seed,
    )
    check_sampling(length, settings)
    opened = load_run(run, trust_cell)
    select_device("cpu", 1)
    _, model = load_model(opened, checkpoint, kernel, "cpu", 1)
    writes = generation_kernel(model)
    if writes.reason:
        print_step_kernel(writes.name, writes.reason)
    vocabulary = opened.vocabulary
    prompt_bytes = read_prompt() if prompt == "-" else os.fsencode(prompt)
    prompt_text = prompt_bytes.decode("utf-8", "surrogateescape")  # whatever the locale is
    print_unknown(vocabulary.find_unknown(prompt_text))
    print_sampling_notes(settings.stop, temperature, num_samples)
    if interactive:
        run_session(WritingSession(model, vocabulary, prompt_text, length, settings))
        return
    if num_samples == 1 and not json and not novelty:
        writer = SampleWriter(model, vocabulary, settings)
        writer.read(prompt_text)
        pieces = writer.iter_pieces(Sample(vocabulary, settings, 0), length)
        write_sample(chain([prompt_bytes], pieces), has_line_end=False)
        return
    samples: Iterable[Sample] = iter_samples(
        model, vocabulary, prompt_text, length, num_samples, settings, logprobs
    )
    found: Iterable[Novelty | None] = repeat(None)
    if novelty:
        samples = list(samples)
        ids = [sample.tokens for sample in samples]
        found = measure_novelty(opened, ids, corpus or (), make_progress())
    for sample, overlap in zip(samples, found, strict=False):
        if json:
            result = describe_sample(sample, prompt_text, writes.name, settings, overlap)
            console.print_json(msgspec.to_builtins(result))
            continue
        if num_samples > 1:
            console.print_message(f"sample {sample.number + 1} of {num_samples}")
        write_sample([prompt_bytes, bytes(sample.data)], has_line_end=True)
        if overlap is not None:
            print_novelty(overlap, vocabulary.kind)


def check_session(prompt: str, num_samples: int, *, json: bool, novelty: bool) -> None:
    """Raise ConfigError if an option cannot be used with --interactive."""
    conflicts = {
        "--json": json,
        "--num-samples": num_samples > 1,
        "--novelty": novelty,
        "--prompt -": prompt == "-",
    }
    for option, is_used in conflicts.items():
        if is_used:
            raise ConfigError(
                f"cannot use {option} with --interactive: it reads a line, writes a text, and so "
                f"on. Try without {option}"
            )


def read_prompt() -> bytes:
    """Return standard input without its last line end, which `echo` and editors add."""
    data = standard_input().buffer.read()
    line_end = next((end for end in (b"\r\n", b"\n", b"\r") if data.endswith(end)), b"")
    return data.removesuffix(line_end)


def write_sample(pieces: Iterable[bytes], *, has_line_end: bool) -> None:
    """Write a sample piece by piece.

    Args:
        pieces: Its bytes.
        has_line_end: Whether a line end follows; on a terminal, one always does.
    """
    out = console.StreamWriter()
    for piece in pieces:
        out.write(piece)
    if out.terminal or has_line_end:
        out.write(b"\n")
