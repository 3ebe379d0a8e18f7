"""Plan of a comparison: what its models share, and what its runs will take."""

from typing import Literal

import msgspec

from charlm.config import Config
from charlm.results.jobs import JobStatus
from charlm.results.text import CorpusRecord
from charlm.results.tuning import SearchPlan
from charlm.results.values import (
    Count,
    Integer,
    Number,
    OptionalSha256,
    PositiveCount,
    RecordedSetting,
)
from charlm.results.verdicts import InsufficientData

Role = Literal["cell", "transformer"]
Measure = Literal["params", "flops", "state", "time"]  # of the budget that models share
# A run or curriculum is compared, a trial tunes a cell, a bracket run tries another rate, a probe
# reads a run.
Purpose = Literal["run", "curriculum", "trial", "bracket", "probe"]
Quantity = Literal[
    "parameters", "flops_per_character", "state_size", "max_steps", "characters_read"
]


class QuantityRange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A quantity over the runs of a comparison."""

    name: Quantity  # quantity that was measured
    min: Count  # smallest of all runs
    max: Count  # largest of all runs
    is_equal: bool  # within the tolerance


class Matching(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The quantity that is equal for all cells."""

    measure: Measure | None  # None: nothing was matched
    amount: Number | None  # of the measure; for time, 1: the step time of the LSTM below
    parameters: Count | None  # of every model, or of the LSTM that defines the amount
    tolerance: Number  # accepted relative error of the cells
    max_relative_error: Number | None  # largest of all cells
    characters: Count | None  # that each run reads; None where runs differ
    max_steps: Count | None  # None where runs differ
    quantities: tuple[QuantityRange, ...] = ()  # of existing runs


class PlannedBudget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`budget.json`: what `--minutes` was worth when the comparison was planned first."""

    minutes: Number
    entries: tuple[str, ...]  # cells and their sizes that were timed
    seeds: Count
    characters: PositiveCount  # that each run reads


class TimingConditions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Conditions that determine a size chosen by timing."""

    settings: dict[str, RecordedSetting]  # those that the step time depends on
    cell_sha256: OptionalSha256  # of the file of a custom cell
    device: str
    vocabulary_size: Count  # number of tokens
    parameters: Count  # of the LSTM that defines the step time


class TimedSize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A measured size."""

    conditions: TimingConditions
    hidden_size: PositiveCount
    relative_error: Number


class TimedSizes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`time_matching.json`: all sizes that were measured."""

    sizes: tuple[TimedSize, ...]


class PlannedEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Size and speed of an entry."""

    name: str  # cell, or transformer
    role: Role
    hidden_size: Count
    parameters: Count
    flops_per_character: Count
    state_size: Count
    learning_rate: Number
    batch_size: Count
    max_steps: Count
    seconds_per_million: Number | None  # None where nothing was timed
    relative_error: Number | None  # of the matched budget; None where nothing was matched
    tolerance: Number | None = None  # accepted relative error; None: that of all cells


class PlannedJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run, curriculum, trial, bracket or probing, and what remains of it."""

    name: str  # its directory
    purpose: Purpose  # of the job
    role: Role
    cell: str
    seed: Integer
    hidden_size: Count
    parameters: Count
    status: JobStatus  # according to its directory
    fraction_done: Number  # 0 to 1
    seconds: Number  # remaining; of a curriculum at most, since it ends at a length it fails at
    memory_bytes: Count
    disk_bytes: Count  # still to be written


class Resources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Memory and disk."""

    memory_bytes: Count
    disk_bytes: Count


class RemainingWork(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Total of the runs that have not finished."""

    runs: Count  # number of runs, trials and probings
    seconds: Number  # until the last one ends
    memory_bytes: Count  # at once
    disk_bytes: Count


class CostEstimate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Result of `compare-cells --dry-run` and `tasks compare --dry-run`."""

    format: Count
    matching: Matching
    device: str
    parallel_runs: Count  # runs side by side
    memory_limits_parallel: bool  # True if fewer run side by side than requested
    startup_seconds: Number  # to start and stop the process of a run
    entries: tuple[PlannedEntry, ...]
    runs: tuple[PlannedJob, ...]
    remaining: RemainingWork
    available: Resources
    insufficient: InsufficientData | None = None  # cause that rules out any verdict


class ComparisonOverview(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison before its first run, for display."""

    corpus: CorpusRecord
    vocabulary_size: Count
    vocabulary_kind: str
    matching: Matching
    entries: tuple[PlannedEntry, ...]
    runs: Count
    config: Config  # of the first run
    reference: str  # cell that the others are compared with
    search: SearchPlan | None  # of each entry; None without tuning
    parallel_runs: Count
    memory_limits_parallel: bool  # True if fewer run side by side than requested
    device: str
    out: str
    insufficient: InsufficientData | None = None  # cause that rules out any verdict
    remaining: RemainingWork | None = None  # None in a cluster, where nothing is timed
    linear_cells: tuple[str, ...] = ()  # because of which all cells are in residual blocks
    bare_linear_cells: tuple[str, ...] = ()  # linear in their state, beside others, as requested
