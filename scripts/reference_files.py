"""Reference of every JSON file and key that charlm writes, generated from the source.

Types come from msgspec. The meaning of a key is, in this order: the comment beside the field, the
help of the option of this name, the entry in COMMON, or what its struct is. A key without a meaning
is an error.
"""

import ast
import inspect
import io
import re
import tokenize
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import msgspec
from msgspec import inspect as schema

from charlm.config import FORMAT_VERSION, Config
from charlm.data.vocabulary import Vocabulary
from charlm.results import (
    baselines,
    cells,
    cleanup,
    comparison,
    comparison_plan,
    compression,
    corpora,
    doctor,
    inspection,
    jobs,
    probe_limits,
    probes,
    program,
    run,
    run_list,
    samples,
    settings,
    tasks,
    text,
    timing,
    training,
    tuning,
    verdicts,
)

MODULES = (
    *(baselines, cells, comparison, comparison_plan, inspection, jobs, probes, run, tasks),
    *(cleanup, corpora, doctor, run_list, samples, settings),
    *(compression, probe_limits, program, text, timing, training, tuning, verdicts),
)
StructClass = type[msgspec.Struct]


@dataclass(frozen=True)
class File:
    """A file that charlm writes; name is a glob pattern relative to its directory."""

    name: str
    purpose: str
    structs: tuple[StructClass, ...]

    @property
    def is_lines(self) -> bool:
        """Return True if the file has one JSON object per line."""
        return self.name.endswith(".jsonl")


@dataclass(frozen=True)
class Directory:
    """A kind of directory that charlm writes, and its JSON files."""

    title: str
    files: tuple[File, ...]


DIRECTORIES = (
    Directory(
        "A run: `charlm train --run DIR`",
        (
            File("run.json", "Settings and environment; never changes.", (run.RunRecord,)),
            File("vocabulary.json", "Tokens and their ids.", (Vocabulary,)),
            File(
                "metrics.jsonl",
                "One line per optimizer step, and one per validation.",
                (training.StepMetrics, training.ValidationMetrics, training.BranchMetrics),
            ),
            File("events.jsonl", "One line per event, with its time.", (training.RunEvent,)),
            File("report.json", "Result of a finished run.", (run.RunReport,)),
            File("diverged.json", "Written instead of a report.", (run.Divergence,)),
            File(
                "checkpoints/step-*/progress.json",
                "State of training; weights are in `model.safetensors`, optimizer and recurrent "
                "state in `training.safetensors`.",
                (training.TrainingProgress,),
            ),
            File(
                "checkpoints/step-*/manifest.json",
                "SHA-256 of every file of the checkpoint.",
                (training.Manifest,),
            ),
        ),
    ),
    Directory(
        "A comparison: `charlm compare-cells --out DIR`",
        (
            File("comparison.json", "Marks the directory.", (comparison.ComparisonMarker,)),
            File(
                "report.json",
                "The result. It depends on the runs alone, and has no clock values.",
                (comparison.ComparisonReport,),
            ),
            File("timing.json", "Everything that a clock decides.", (timing.TimingReport,)),
            File(
                "time_matching.json",
                "Hidden sizes found by timing (`--match time`): an array of these.",
                (comparison_plan.TimedSize,),
            ),
            File(
                "budget.json",
                "What `--minutes` was worth when the comparison was planned first.",
                (comparison_plan.PlannedBudget,),
            ),
            File(
                "baselines-*.json",
                "Cached scores of baselines.",
                (baselines.BaselineCache,),
            ),
        ),
    ),
    Directory(
        "A curriculum: `charlm tasks train --run DIR`",
        (
            File("curriculum.json", "Task and settings; never changes.", (tasks.CurriculumRecord,)),
            File("length-*.jsonl", "One line per validation.", (tasks.TaskValidation,)),
            File("length-*.json", "Result at one length.", (tasks.LevelResult,)),
        ),
    ),
    Directory(
        "A comparison on a task: `charlm tasks compare TASK --out DIR`",
        (
            File("comparison.json", "Marks the directory.", (comparison.ComparisonMarker,)),
            File("report.json", "The result.", (tasks.TaskReport,)),
            File("timing.json", "Everything that a clock decides.", (timing.TimingReport,)),
        ),
    ),
    Directory(
        "Probe results: `charlm probe --out DIR`",
        (
            File("probes.json", "Marks the directory.", (probes.ProbeMarker,)),
            File(
                "PROBE.json",
                "Cached outcome of one probe for one run, named after the probe.",
                (probes.ProbeAnswer,),
            ),
            File("report.json", "All outcomes of all runs.", (probes.ProbesReport,)),
        ),
    ),
    Directory(
        "An artificial corpus: `python scripts/grammar.py write CORPUS.txt`",
        (File("CORPUS.json", "Grammar and exact entropy.", (text.AgreementRecord,)),),
    ),
    Directory(
        "The cache: `$CHARLM_CACHE`, else `~/.cache/charlm`",
        (
            File("*.json", "Facts about an encoded text.", (text.EncodingMetadata,)),
            File("*.json", "Notes on a text and its splits.", (text.TextNotes,)),
            File(
                "corpora/*/corpus.json",
                "A standard corpus that was downloaded.",
                (corpora.StoredCorpus,),
            ),
        ),
    ),
)

# Results that commands print with --json, where they are no file above.
PRINTED: dict[str, StructClass] = {
    "every command that fails": program.ErrorReport,
    "charlm --version": program.VersionReport,
    "charlm exit-codes": program.ExitCodeList,
    "charlm eval": run.EvaluationReport,
    "charlm compress": compression.CompressionReport,
    "charlm decompress": compression.DecompressionReport,
    "charlm sample": samples.GeneratedSample,
    "charlm cells": cells.CellList,
    "charlm cells show": cells.CellListing,
    "charlm cells check": cells.CellCheckReport,
    "charlm compare-cells --dry-run": comparison_plan.CostEstimate,
    "charlm inspect": inspection.InspectionReport,
    "charlm config show": settings.ResolvedSettings,
    "charlm corpora list": corpora.CorpusList,
    "charlm corpora get": corpora.FetchedCorpus,
    "charlm corpora verify": corpora.CorpusVerification,
    "charlm runs": run_list.RunList,
    "charlm clean": cleanup.CleanupReport,
    "charlm doctor": doctor.Diagnosis,
    "charlm tasks list": tasks.TaskList,
    "charlm tasks show": tasks.TaskExample,
    "charlm tasks train": tasks.CurriculumReport,
    "python scripts/grammar.py measure": text.AgreementGap,
}

# Values that functions hand each other; they are never written.
IN_MEMORY: frozenset[StructClass] = frozenset(
    {
        baselines.BaselineDetails,
        comparison_plan.ComparisonOverview,
        comparison.ComparisonResult,
        comparison.ValidationPoint,
        run.RunSummary,
        run.ThreadTiming,
        tasks.TaskComparisonOverview,
        tasks.TaskComparisonResult,
        text.VocabularyRule,
        training.BranchStep,
        training.CheckpointSaved,
    }
)


# Keys that mean the same in every file, and are no options.
COMMON = {
    "format": "version of this format; other versions are refused",
    "charlm": "version of charlm that wrote the file",
    "command": "command line that wrote the file",
    "parameters": "trainable parameters of the model",
    "state_size": "floats that the model carries from one character to the next, per stream",
    "flops_per_character": "FLOPs of the matrix products of one character, forward",
    "relative_error": "relative difference from the matched budget",
    "step": "optimizer steps done",
    "kernel": "kernel that ran the recurrence",
    "device": "device that ran the model",
    "threads": "CPU threads",
    "weights_sha256": "SHA-256 of the model's weights",
    "corpus_sha256": "SHA-256 of the whole text",
    "text_sha256": "SHA-256 of exactly the bytes that were read",
    "sha256": "SHA-256, hexadecimal",
    "ci_low": "lower end of the 95 % confidence interval",
    "ci_high": "upper end of the 95 % confidence interval",
    "seeds": "seed of each run",
    "layer": "layer, counted from 1",
    "unit": "unit of the layer, counted from 1",
    "role": "`cell` if it is judged, `transformer` if it is shown beside the cells",
    "memory_bytes": "memory, in bytes",
    "disk_bytes": "disk space, in bytes",
    "environment": "versions of charlm, PyTorch and Python; machine, device, threads",
    "settings": "value of each option, by name",
    "length": "length of the task's sequences, in its own unit",
    "loss": "nats per target, or mean squared error of a task that asks for numbers",
    "accuracy": "fraction of correct answers",
}


def all_structs() -> Iterator[StructClass]:
    """Yield every struct that is defined in `charlm.results`."""
    for module in MODULES:
        for value in vars(module).values():
            is_struct = inspect.isclass(value) and issubclass(value, msgspec.Struct)
            if is_struct and value.__module__ == module.__name__:
                yield value


def referenced_structs(value: schema.Type) -> Iterator[StructClass]:
    """Yield the structs that a type mentions, directly."""
    match value:
        case schema.StructType():
            yield value.cls
        case schema.Metadata():
            yield from referenced_structs(value.type)
        case schema.UnionType():
            for part in value.types:
                yield from referenced_structs(part)
        case schema.VarTupleType() | schema.ListType() | schema.CollectionType():
            yield from referenced_structs(value.item_type)
        case schema.TupleType():
            for part in value.item_types:
                yield from referenced_structs(part)
        case schema.DictType():
            yield from referenced_structs(value.value_type)


def struct_type(struct: StructClass) -> schema.StructType:
    """Return msgspec's description of a struct."""
    described = schema.type_info(struct)
    assert isinstance(described, schema.StructType)
    return described


def reachable_structs(roots: Sequence[StructClass]) -> list[StructClass]:
    """Return the roots and every struct below them, in order of first mention."""
    found = list(dict.fromkeys(roots))
    for struct in found:  # grows
        for field in struct_type(struct).fields:
            found += [s for s in referenced_structs(field.type) if s not in found]
    return found


@cache
def parse_module(module: types.ModuleType) -> tuple[ast.Module, dict[int, str]]:
    """Return the syntax tree of a module and its comments by line."""
    source = inspect.getsource(module)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    return ast.parse(source), comments


@cache
def comments_by_field(struct: StructClass) -> dict[str, str]:
    """Return the comment beside each field of a struct, inherited fields included."""
    meanings: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if base is msgspec.Struct or not issubclass(base, msgspec.Struct):
            continue
        module = inspect.getmodule(base)
        assert module is not None
        tree, comments = parse_module(module)
        for definition in tree.body:
            if not (isinstance(definition, ast.ClassDef) and definition.name == base.__name__):
                continue
            for node in definition.body:
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
                    beside = " ".join(comments[line] for line in lines if line in comments)
                    if beside and not beside.startswith(("noqa", "type:")):
                        meanings[node.target.id] = beside
    return meanings


def option_help(kind: schema.Type) -> str | None:
    """Return the description that a type is annotated with."""
    while isinstance(kind, schema.Metadata):
        description = (kind.extra_json_schema or {}).get("description")
        if description:
            return str(description)
        kind = kind.type
    return None


@cache
def option_meanings() -> dict[str, str]:
    """Return the help of every field of Config."""
    fields = struct_type(Config).fields
    return {field.name: option_help(field.type) or "" for field in fields}


def describe_field(struct: StructClass, field: schema.Field) -> str:
    """Return the meaning of a field.

    Raises:
        LookupError: it is stated nowhere.
    """
    name = field.name
    stated = [
        comments_by_field(struct).get(name),
        option_help(field.type),
        COMMON.get(name),
        option_meanings().get(name),
        *(first_sentence(part) for part in referenced_structs(field.type)),
    ]
    for meaning in stated:
        if meaning:
            return meaning
    raise LookupError(f"{struct.__module__}.{struct.__name__}.{name}")


def json_type(value: schema.Type) -> str:
    """Return the JSON type of a value, in words, as Markdown."""
    match value:
        case schema.Metadata():
            return json_type(value.type)
        case schema.StructType():
            return f"[{value.cls.__name__}](#{value.cls.__name__.lower()})"
        case schema.UnionType():
            return " or ".join(json_type(part) for part in value.types)
        case schema.VarTupleType() | schema.ListType() | schema.CollectionType():
            return f"array of {json_type(value.item_type)}"
        case schema.TupleType():
            return f"array [{', '.join(json_type(part) for part in value.item_types)}]"
        case schema.DictType():
            return f"object of {json_type(value.value_type)}"
        case schema.LiteralType():
            return ", ".join(f"`{msgspec.json.encode(v).decode()}`" for v in value.values)
        case schema.IntType() | schema.FloatType():
            name = "integer" if isinstance(value, schema.IntType) else "number"
            return name + number_range(value)
    names = {
        schema.AnyType: "any",
        schema.NoneType: "null",
        schema.BoolType: "boolean",
        schema.StrType: "string",
    }
    return names[type(value)]


def number_range(value: schema.IntType | schema.FloatType) -> str:
    """Return the range that a number must lie in, or nothing."""
    limits = ((value.ge, "≥"), (value.gt, ">"), (value.le, "≤"), (value.lt, "<"))
    stated = [f"{sign} {limit:,}" for limit, sign in limits if limit is not None]
    return f" ({', '.join(stated)})" if stated else ""


def default_note(struct: StructClass, field: schema.Field) -> str:
    """Return when a key may be absent."""
    if struct.__struct_config__.omit_defaults and not field.required:
        return f" Absent if {msgspec.json.encode(field.default).decode()}."
    return ""


def finish_sentence(meaning: str, key: str) -> str:
    """Return the comment as a sentence in a table cell; "of a cell" goes on after the key."""
    if meaning.startswith("of "):
        noun = "SHA-256" if key.endswith("sha256") else key.replace("_", " ")
        meaning = f"{noun} {meaning}"
    sentence = meaning[0].upper() + meaning[1:]
    return re.sub(r"\bNone\b", "null", sentence).rstrip(".").replace("|", "\\|") + "."


def first_sentence(struct: StructClass) -> str:
    """Return the first sentence of a struct's docstring, without the name of its file."""
    sentence = re.split(r"[.:](?:\s|$)", struct_docstring(struct), maxsplit=1)[0]
    return re.sub(r"^`[^`]+`: ", "", sentence)


def struct_docstring(struct: StructClass) -> str:
    """Return the docstring of a struct without its indentation.

    Raises:
        LookupError: there is none.
    """
    doc = inspect.cleandoc(struct.__doc__ or "")
    if not doc or doc.startswith("TODO"):
        raise LookupError(f"{struct.__module__}.{struct.__name__}")
    return doc


def describe_struct(struct: StructClass) -> str:
    """Return the section of a struct: its docstring and a table of its keys."""
    lines = [f"### {struct.__name__}", "", struct_docstring(struct), ""]
    lines += ["| key | type | meaning |", "|---|---|---|"]
    described = struct_type(struct)
    if described.tag_field is not None:
        tag = msgspec.json.encode(described.tag).decode()
        lines.append(f"| `{described.tag_field}` | `{tag}` | Tells the kinds apart. |")
    missing = []
    for field in described.fields:
        try:
            meaning = finish_sentence(describe_field(struct, field), field.name) + default_note(
                struct, field
            )
        except LookupError as error:
            missing.append(str(error))
            continue
        lines.append(f"| `{field.encode_name}` | {json_type(field.type)} | {meaning} |")
    if missing:
        raise LookupError("\n".join(missing))
    return "\n".join(lines) + "\n"


def written_structs() -> list[StructClass]:
    """Return every struct that is in a file or printed, and those below it."""
    roots = [s for d in DIRECTORIES for file in d.files for s in file.structs]
    return reachable_structs([*roots, *PRINTED.values()])


def undocumented() -> list[str]:
    """Return what keeps the reference from being complete, one problem per entry."""
    problems = []
    written = written_structs()
    known = {*written, *IN_MEMORY}
    for struct in all_structs():
        if struct not in known:
            problems.append(f"{struct.__module__}.{struct.__name__}: neither written nor IN_MEMORY")
    for struct in written:
        try:
            describe_struct(struct)
        except LookupError as error:
            problems += [f"{name}: no comment or docstring" for name in str(error).splitlines()]
    return problems


def link(struct: StructClass) -> str:
    """Return a Markdown link to a struct's section."""
    return f"[{struct.__name__}](#{struct.__name__.lower()})"


def files_page() -> str:
    """Return the whole page."""
    parts = [
        "# Files and keys",
        "Every JSON file that charlm writes, and every key. Each struct below is a class of "
        "`charlm.results`. Numbers are in the unit that the last column states. JSONL files have "
        f"one object per line. The format is {FORMAT_VERSION}; other formats are refused.",
        "## Files",
    ]
    for directory in DIRECTORIES:
        rows = ["| file | content | purpose |", "|---|---|---|"]
        for file in directory.files:
            content = " or ".join(link(struct) for struct in file.structs)
            each = ", one per line" if file.is_lines else ""
            rows.append(f"| `{file.name}` | {content}{each} | {file.purpose} |")
        parts += [f"**{directory.title}**", "\n".join(rows)]
    parts += [
        "## Output of `--json`",
        "`charlm train`, `charlm probe`, `charlm compare-cells` and `charlm tasks compare` print "
        "their `report.json`; other commands:",
        "\n".join(
            ["| command | result |", "|---|---|"]
            + [f"| `{command}` | {link(struct)} |" for command, struct in PRINTED.items()]
        ),
        "## Keys",
        *(describe_struct(struct).rstrip() for struct in written_structs()),
    ]
    return "\n\n".join(parts) + "\n"
