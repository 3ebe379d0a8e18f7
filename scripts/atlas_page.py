"""Page of the atlas, from the tables that `scripts/atlas.py` has measured."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from charlm.cells.names import CELL_NAMES

SEEDS = 3
CHARACTERS = {15_000: 300_000, 100_000: 1_500_000}  # that each run reads, by size
BLOCKS = {"none": "bare", "residual": "in residual blocks"}


class TaskSetting(NamedTuple):
    """A task of the atlas.

    Attributes:
        task: Name.
        length: Length that is trained.
        quantity: Measure of the task; empty: accuracy at the trained length.
        head: Head of its column.
    """

    task: str
    length: int
    quantity: str
    head: str


TASK_SETTINGS = (
    TaskSetting("formal-parity", 20, "scaled_long", "parity"),
    TaskSetting("word-problem-s3", 16, "", "S3"),
    TaskSetting("flip-flop", 32, "sparse", "flip-flop"),
    TaskSetting("recall-pairs", 8, "", "8 pairs"),
    TaskSetting("adding", 50, "", "adding"),
)


class TextRow(msgspec.Struct, frozen=True, kw_only=True):
    """A cell on the text."""

    cell: str
    hidden_size: int
    parameters: int
    state_size: int
    learning_rate: float
    bits: tuple[float | None, ...]  # per character, by seed
    beyond_64: tuple[float | None, ...]  # bits lost if all further back is other text
    order_reach: tuple[float | None, ...]  # characters
    seconds_per_million: float | None


class TextTable(msgspec.Struct, frozen=True, kw_only=True):
    """docs/atlas/SIZE-BLOCK.json: all cells on the text."""

    parameters: int
    block: str
    characters: int
    text_sha256: str
    environment: dict[str, str]
    ngram_bits: float | None
    rows: tuple[TextRow, ...]


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """A cell on a task."""

    cell: str
    task: str
    values: tuple[float | None, ...]  # by seed; None: diverged


class TaskTable(msgspec.Struct, frozen=True, kw_only=True):
    """docs/atlas/tasks.json: all cells on the tasks."""

    parameters: int
    steps: int
    rows: tuple[TaskRow, ...]


def format_page(data: Path) -> str:
    """Return docs/atlas.md, from the tables that are there."""
    parts = [
        "# Atlas of the cells",
        f"Every built-in cell with its recipe and {SEEDS} seeds, on Python's own source code and "
        "on tasks. Numbers are medians of the seeds, with the range in brackets. It shows where "
        "to look: with so few seeds no difference is a verdict; `charlm compare-cells` gives one. "
        "Made by `python scripts/atlas.py`.",
    ]
    missing = []
    for parameters in CHARACTERS:
        for block, words in BLOCKS.items():
            path = data / f"{parameters}-{block}.json"
            command = f"python scripts/atlas.py text --params {parameters} --block {block}"
            if path.exists():
                table = msgspec.json.decode(path.read_bytes(), type=TextTable)
                parts += format_text(table, words, command)
            else:
                missing.append(f"{parameters:,} parameters, {words}: `{command}`")
    path = data / "tasks.json"
    if path.exists():
        parts += format_tasks(msgspec.json.decode(path.read_bytes(), type=TaskTable))
    else:
        missing.append("the tasks: `python scripts/atlas.py tasks`")
    if missing:
        rows = "\n".join(f"- {line}" for line in missing)
        parts += ["## Not measured yet", rows]
    return "\n\n".join(parts) + "\n"


def format_text(table: TextTable, words: str, command: str) -> list[str]:
    """Return the section of a size and a block."""
    ranked = sorted(table.rows, key=lambda row: median(row.bits) or 99)
    lines = [
        "| cell | units | state | bits/char | lost beyond 64 | order reach | s per million |",
        "|---|--:|--:|---|--:|--:|--:|",
    ]
    for row in ranked:
        reach = median(row.order_reach)
        lines.append(
            f"| {row.cell} | {row.hidden_size} | {row.state_size:,} | {spread(row.bits)} | "
            f"{number(median(row.beyond_64), 4)} | {'-' if reach is None else f'{reach:.0f}'} | "
            f"{number(row.seconds_per_million, 1)} |"
        )
    absent = sorted({*CELL_NAMES}.difference(row.cell for row in table.rows))
    facts = (
        f"{table.characters:,} characters read by each run; text "
        f"`{table.text_sha256[:16]}…`; n-gram of the same characters: "
        f"{number(table.ngram_bits, 3)} bits. State: numbers carried per stream. Lost beyond 64: "
        "bits per character lost when all further back than 64 characters is other text. Order "
        "reach: characters back whose order matters by more than 0.01 bits. Seconds are of "
        "training, on two cores beside other programs."
    )
    if absent:
        facts += f" Not measured: {', '.join(absent)}."
    return [
        f"## {table.parameters:,} parameters, {words}",
        f"    {command}",
        "\n".join(lines),
        facts,
    ]


def format_tasks(table: TaskTable) -> list[str]:
    """Return the section of the tasks."""
    values = {(row.cell, row.task): row.values for row in table.rows}
    cells = list(dict.fromkeys(row.cell for row in table.rows))
    heads = [each.head for each in TASK_SETTINGS]
    lines = [f"| cell | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for cell in cells:
        shown = [spread(values.get((cell, each.task), ()), 2) for each in TASK_SETTINGS]
        lines.append(f"| {cell} | {' | '.join(shown)} |")
    absent = sorted({*CELL_NAMES}.difference(cells))
    facts = (
        f"Bare cells of {table.parameters:,} parameters, {table.steps} steps of 32 sequences. "
        "Shares of right answers, but parity is scaled: 0 is a guess. Parity: words of 20 to 128 "
        "symbols after training on 3 to 20. S3: products of up to 16 permutations. Flip-flop: a "
        "bit held over 32 instructions, 98 % of them ignored. 8 pairs: values of 8 keys. Adding: "
        "two of 50 numbers."
    )
    if absent:
        facts += f" Not measured: {', '.join(absent)}."
    return ["## Tasks", "    python scripts/atlas.py tasks", "\n".join(lines), facts]


def median(values: Sequence[float | None]) -> float | None:
    """Return the median of the seeds that have a value."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def number(value: float | None, digits: int) -> str:
    """Return a number, or - if there is none; no zero has a sign."""
    zero = f"{0:.{digits}f}"
    return "-" if value is None else f"{value:.{digits}f}".replace(f"-{zero}", zero)


def spread(values: Sequence[float | None], digits: int = 3) -> str:
    """Return the median and the range of the seeds."""
    known = [value for value in values if value is not None]
    if not known:
        return "diverged" if values else "-"
    ends = "–".join(number(end, digits) for end in (min(known), max(known)))
    text = f"{number(median(known), digits)} ({ends})"
    lost = len(values) - len(known)
    return f"{text}, {lost} diverged" if lost else text
