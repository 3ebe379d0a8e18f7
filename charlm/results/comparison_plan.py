"""Plan of a comparison: what its models share, and what its runs will take."""

from typing import Literal

import msgspec

from charlm.config import Config
from charlm.results.jobs import JobStatus
from charlm.results.text import CorpusRecord
from charlm.results.tuning import SearchPlan
from charlm.results.verdicts import InsufficientData
from charlm.settings.values import Setting

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
    min: int  # smallest of all runs
    max: int  # largest of all runs
    is_equal: bool  # within the tolerance


class Matching(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The quantity that is equal for all cells."""

    measure: Measure | None  # None: nothing was matched
    amount: float | None  # of the measure; for time, 1: the step time of the LSTM below
    parameters: int | None  # of every model, or of the LSTM that defines the amount
    tolerance: float  # accepted relative error of the cells
    max_relative_error: float | None  # largest of all cells
    characters: int | None  # that each run reads; None where runs differ
    max_steps: int | None  # None where runs differ
    quantities: tuple[QuantityRange, ...] = ()  # of existing runs


class PlannedBudget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`budget.json`: what `--minutes` was worth when the comparison was planned first."""

    minutes: float
    entries: tuple[str, ...]  # cells and their sizes that were timed
    seeds: int
    characters: int  # that each run reads


class TimingConditions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Conditions that determine a size chosen by timing."""

    settings: dict[str, Setting]  # those that the step time depends on
    cell_sha256: str  # of the file of a custom cell
    device: str
    vocabulary_size: int  # number of tokens
    parameters: int  # of the LSTM that defines the step time


class TimedSize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A measured size in `time_matching.json`."""

    conditions: TimingConditions
    hidden_size: int
    relative_error: float


class PlannedEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Size and speed of an entry."""

    name: str  # cell, or transformer
    role: Role
    hidden_size: int
    parameters: int
    flops_per_character: int
    state_size: int
    learning_rate: float
    batch_size: int
    max_steps: int
    seconds_per_million: float | None  # None where nothing was timed
    relative_error: float | None  # of the matched budget; None where nothing was matched
    tolerance: float | None = None  # accepted relative error; None: that of all cells


class PlannedJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run, curriculum, trial, bracket or probing, and what remains of it."""

    name: str  # its directory
    purpose: Purpose  # of the job
    role: Role
    cell: str
    seed: int
    hidden_size: int
    parameters: int
    status: JobStatus  # according to its directory
    fraction_done: float  # 0 to 1
    seconds: float  # remaining; of a curriculum at most, since it ends at a length it fails at
    memory_bytes: int
    disk_bytes: int  # still to be written


class Resources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Memory and disk."""

    memory_bytes: int
    disk_bytes: int


class RemainingWork(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Total of the runs that have not finished."""

    runs: int  # number of runs, trials and probings
    seconds: float  # until the last one ends
    memory_bytes: int  # at once
    disk_bytes: int


class CostEstimate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Result of `compare-cells --dry-run` and `tasks compare --dry-run`."""

    format: int
    matching: Matching
    device: str
    parallel_runs: int  # runs side by side
    memory_limits_parallel: bool  # True if fewer run side by side than requested
    startup_seconds: float  # to start and stop the process of a run
    entries: tuple[PlannedEntry, ...]
    runs: tuple[PlannedJob, ...]
    remaining: RemainingWork
    available: Resources
    insufficient: InsufficientData | None = None  # cause that rules out any verdict


class ComparisonOverview(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison before its first run, for display."""

    corpus: CorpusRecord
    vocabulary_size: int
    vocabulary_kind: str
    matching: Matching
    entries: tuple[PlannedEntry, ...]
    runs: int
    config: Config  # of the first run
    reference: str  # cell that the others are compared with
    search: SearchPlan | None  # of each entry; None without tuning
    parallel_runs: int
    memory_limits_parallel: bool  # True if fewer run side by side than requested
    device: str
    out: str
    insufficient: InsufficientData | None = None  # cause that rules out any verdict
    remaining: RemainingWork | None = None  # None in a cluster, where nothing is timed
    linear_cells: tuple[str, ...] = ()  # because of which all cells are in residual blocks
    bare_linear_cells: tuple[str, ...] = ()  # linear in their state, beside others, as requested
