"""Tables of the atlas: what `scripts/atlas.py` measures, and its numbers as text."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

SEEDS = 3
S3_TRACKED = ("word-problem-s3", "tracked")  # task and quantity that cells are sorted by
CHARACTERS = {15_000: 300_000, 100_000: 1_500_000}  # that each run reads, by size
BLOCKS = {"none": "bare", "residual": "in residual blocks"}


class TaskSetting(NamedTuple):
    """A task of the atlas.

    Attributes:
        task: Name.
        length: Length that is trained.
        quantity: "accuracy", at "twice" the trained length, or a measure of the task.
        head: Head of its column.
        digits: Decimal places of its numbers.
    """

    task: str
    length: int
    quantity: str
    head: str
    digits: int = 2


TASK_SETTINGS = (
    TaskSetting("formal-parity", 20, "scaled_long", "parity"),
    TaskSetting("word-problem-s3", 16, "accuracy", "S3"),
    TaskSetting("word-problem-s3", 16, "tracked", "S3 up to", 0),
    TaskSetting("anbn", 16, "accuracy", "count"),
    TaskSetting("anbn", 16, "twice", "count ×2"),
    TaskSetting("flip-flop", 32, "sparse", "flip-flop"),
    TaskSetting("recall-pairs", 8, "accuracy", "8 pairs"),
    TaskSetting("adding", 50, "accuracy", "adding"),
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
    environment: dict[str, str]  # of the call that measured last
    ngram_bits: float | None
    rows: tuple[TextRow, ...]


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """A cell on a task."""

    cell: str
    task: str
    quantity: str  # of TaskSetting
    values: tuple[float | None, ...]  # by seed; None: diverged


class TaskTable(msgspec.Struct, frozen=True, kw_only=True):
    """docs/atlas/tasks.json: all cells on the tasks."""

    parameters: int
    steps: int
    rows: tuple[TaskRow, ...]


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
