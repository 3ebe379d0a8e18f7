"""Comparison reports: `report.json`, `timing.json` and the plan of a dry run."""

from types import UnionType
from typing import Any, Literal, get_args, get_type_hints

import msgspec

from charlm.config import Config
from charlm.results.jobs import JobStatus
from charlm.results.probes import NotApplicableReason, ProbesReport
from charlm.results.text import CorpusRecord, TextNote
from charlm.results.tuning import SearchPlan, Setting, TuningReport

Unit = Literal["bits_per_char", "bits_per_byte"]
Role = Literal["cell", "transformer"]
Label = Literal["reference", "better", "worse", "equivalent", "inconclusive", "diverged"]
BaselineKind = Literal["static", "adaptive"]
ComparisonKind = Literal["text", "task", "runs"]
Measure = Literal["params", "flops", "state", "time"]  # of the budget that models share
JudgedQuantity = Literal["bits_per_char", "beyond_64", "word_again", "order_reach"]
UnmeasuredCause = Literal["disabled", "diverged", "text_gone", "not_applicable"]
# A run is compared, a trial tunes a cell, a bracket run has another rate, a probe reads a run.
Purpose = Literal["run", "trial", "bracket", "probe"]
Quantity = Literal[
    "parameters", "flops_per_character", "state_size", "max_steps", "characters_read"
]


class ComparisonMarker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`comparison.json`: marks a directory as a comparison of this kind."""

    format: int
    kind: ComparisonKind  # subject of the comparison


class SeedSummary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Summary over the seeds that have a result; None if none has."""

    mean: float | None  # over seeds
    median: float | None  # over seeds
    min: float | None  # over seeds
    max: float | None  # over seeds
    per_seed: tuple[float | None, ...]  # score of each seed; None if it diverged


class InsufficientData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cause that rules out any verdict."""

    cause: Literal["seeds", "units", "reference_diverged"]  # quantity that is too small
    available: int  # seeds or units; of the reference, seeds that did not diverge
    needed: int  # seeds or units; of the reference, all seeds
    diverged: int = 0  # seeds of the reference that diverged
    characters_needed: int | None = None  # of the test text, if it has too few units


class Power(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ability of this data to decide about the margin."""

    seeds: int | None  # that would detect it; None: the test text is too short for any number
    smallest_margin: float  # smallest margin for which these data show equivalence


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cell against the reference, in bits per character; None where it cannot be computed."""

    label: Label  # the verdict
    difference: float | None = None  # mean over seeds; below 0 the cell is better
    ci_low: float | None = None  # 95 % confidence interval of this difference alone
    ci_high: float | None = None
    p: float | None = None  # of no difference, for this cell alone
    p_holm: float | None = None  # corrected for the number of cells (Holm 1979)
    p_tost_holm: float | None = None  # of a difference of at least the margin, corrected
    seed_std: float | None = None  # standard deviation of the difference over seeds
    text_se: float | None = None  # standard error that more seeds would not reduce
    insufficient: InsufficientData | None = None
    power: Power | None = None


class Judged(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A measured quantity of an entry: its value over seeds, its interval and its verdict."""

    value: SeedSummary  # in the unit of the quantity
    ci_low: float | None  # 95 % confidence interval of the mean over seeds
    ci_high: float | None
    verdict: Verdict | None  # against the reference; None for the reference, and if not judged


class MemoryCurve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bits per character lost when everything further back than k characters is other text."""

    k: tuple[int, ...]  # characters of true context
    mean: tuple[float | None, ...]  # at each k, over seeds
    per_seed: tuple[tuple[float | None, ...], ...]  # of each seed at each k
    ci_low: tuple[float | None, ...]  # 95 % confidence interval of the mean at each k
    ci_high: tuple[float | None, ...]


class Unmeasured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A judged quantity that has no value, and why."""

    quantity: JudgedQuantity
    cause: UnmeasuredCause
    reason: NotApplicableReason | None = None  # of the probe, if it does not apply to the text


class Memory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far back an entry remembers, at the same places of the test split for all runs.

    A quantity is None where the text has no places to measure it.
    """

    beyond_64: Judged | None  # bits/char lost when all further back than 64 is other text
    word_again: Judged | None  # bits saved on a rare word because it was read 64 to 1,024 before
    order_reach: Judged | None  # characters: how far back their order matters
    curve: MemoryCurve | None  # beyond k for several k


class PairVerdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cell against another; where at most four cells are compared, all pairs are tested."""

    quantity: JudgedQuantity
    cell: str
    other: str  # the cell that it is compared with
    verdict: Verdict


class BudgetPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Validation of all entries after a part of the budget, with a decayed learning rate."""

    fraction: float  # of the budget
    characters: int  # read by each run
    bits: dict[str, float | None]  # entry -> mean over seeds; None if no seed has a result
    ranking: tuple[str, ...]  # cells, lowest bits first


class BracketPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run at another learning rate, which shows whether the recipe fits the text."""

    cell: str
    factor: float  # of the recipe's learning rate
    learning_rate: float
    characters: int  # read by each of the two runs
    bits: float | None  # validation bits per character; None if it diverged
    recipe_bits: float | None  # of the recipe at the same characters and seed
    seed_std: float | None  # of the recipe over seeds
    is_better: bool  # by more than two standard deviations


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the budget decides: learning at a part of it, and at other learning rates."""

    points: tuple[BudgetPoint, ...]  # in the order of fractions; the last is the whole budget
    order_is_stable: bool | None  # whether every ranking is the same; None with one cell
    bits_per_doubling: dict[str, float]  # entry -> bits that the last doubling brought
    bracket: tuple[BracketPoint, ...]  # empty where learning rates are given or tuned
    gradient_reach: int  # characters that the gradient reaches: the length of a window


class EntryRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of a comparison: a cell that is judged, or the Transformer, which is not."""

    name: str  # cell, or transformer
    role: Role
    hidden_size: int
    num_layers: int
    parameters: int
    relative_error: float | None  # of the matched budget; None where nothing was matched
    state_size: int  # floats carried per stream
    flops_per_character: int  # matrix products, forward
    learning_rate: float
    batch_size: int
    bits_per_char: SeedSummary
    bits_per_byte: SeedSummary
    quality: Judged  # bits per character, or per byte where the text has no characters
    memory: Memory | None  # None if it was not measured
    seeds: tuple[int, ...]
    diverged: int  # seeds that diverged
    runs: tuple[str, ...]  # names of the run directories, one per seed


class BaselineDetails(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Conditions under which a baseline was measured."""

    vocabulary_size: int | None = None  # uniform
    order: int | None = None  # n-gram
    max_order: int | None = None  # highest order that was tried
    is_at_edge: bool = False  # True if the highest order is the best: a higher one may be better
    bits_by_order: tuple[float, ...] = ()  # n-gram: bits/char of test for orders 1, 2, ...
    training_tokens: int | None = None  # tokens of train that were counted
    training_is_partial: bool = False  # True if train is longer
    selection_tokens: int | None = None  # tokens of valid that chose the order
    window_bytes: int | None = None  # history that a compressor uses; None: all of it
    block_bytes: int | None = None  # size of blocks that a compressor packs independently
    missing_package: str | None = None  # extra of charlm that would have to be installed


class BaselineResult(BaselineDetails, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Reference score of the test split.

    A static baseline learns from train alone, as a run does. An adaptive one goes on learning
    while it reads the test split.
    """

    name: str  # such as uniform, n-gram or gzip
    kind: BaselineKind  # an adaptive one also learns from the test split
    bits_per_char: float | None  # None if it was not measured, or the bytes have no characters
    bits_per_byte: float | None  # None if it was not measured


class BaselineCache(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`baselines-KEY.json`: baselines that were measured on one text, splits and version."""

    results: tuple[BaselineResult, ...]  # all baselines, in the order in which they were measured


class ScoredCorpus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The text of a comparison."""

    sources: tuple[str, ...]  # names of files or of built-in corpora
    sha256: str
    characters: int | None  # of the whole text; None if it is not UTF-8
    splits: dict[str, tuple[int, int]]  # name -> first token and one past the last
    scored_split: str  # test or valid
    scored_sha256: str | None  # None if every run diverged
    notes: tuple[TextNote, ...] = ()  # oddities of the text and its splits


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


class Statistics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Statistical method of the verdicts."""

    reference: str  # the cell that the others are compared with
    level: float  # familywise error rate
    correction: Literal["Holm"]  # for the number of cells
    units: int  # files or blocks of the scored text: what is resampled
    unit_kind: Literal["file", "line", "block"]  # kind of these units
    margins: dict[JudgedQuantity, float]  # judged quantity -> smallest relevant difference


class ComparisonReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`report.json` of a comparison on a text or of existing runs."""

    format: int
    kind: ComparisonKind  # subject of the comparison
    protocol: str  # of scoring: "one-stream"
    corpus: ScoredCorpus
    matching: Matching
    settings: dict[str, Setting]  # settings that all runs share
    differing_settings: dict[str, dict[str, Setting]] | None  # setting -> entry -> value
    tuning: TuningReport | None
    environment: dict[str, str]
    unit: Unit  # unit that rows are ordered by
    statistics: Statistics
    rows: tuple[EntryRow, ...]  # lowest mean first
    pairs: tuple[PairVerdict, ...]  # empty with more than four cells
    budget: Budget | None  # None for existing runs
    ngram_memory: tuple[tuple[int, float], ...]  # (k, bits lost beyond k) of the n-gram
    unmeasured: tuple[Unmeasured, ...] = ()  # quantities without a value, and why
    linear_cells: tuple[str, ...] = ()  # because of which all cells were put into residual blocks
    bare_linear_cells: tuple[str, ...] = ()  # linear in their state, beside others, as requested
    baselines: tuple[BaselineResult, ...]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one flat dictionary per row, as pandas and polars take them."""
        return [flatten(row) for row in self.rows]

    @property
    def cells(self) -> tuple[EntryRow, ...]:
        """Rows of cells, which all have a verdict; the Transformer is left out."""
        return tuple(row for row in self.rows if row.role == "cell")


class CellTiming(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Wall-clock times of an entry, mean over its finished runs."""

    seconds_per_million: float | None  # seconds of optimizer steps per million characters
    minutes: float | None  # of optimizer steps of a run


class CpuBreakdown(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the CPU seconds of a comparison went."""

    judged_updates: float  # optimizer steps of the runs that are judged
    branches: float  # decayed copies at parts of the budget
    looks: float  # validations
    scores: float  # of the test split
    bracket: float  # runs at other learning rates, whole
    trials: float  # of tuning, whole
    transformer: float  # its runs, whole
    probes: float  # of memory
    start_up: float  # of the processes of judged runs, and what else they did
    command: float  # the process of the command itself: text, planning, baselines, statistics

    @property
    def total(self) -> float:
        """Sum of all."""
        return sum(getattr(self, name) for name in self.__struct_fields__)


class TimingReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`timing.json`: everything that a clock decides, apart from the reproducible report."""

    format: int
    command: str
    cells: dict[str, CellTiming]
    cpu: CpuBreakdown | None = None  # None for existing runs and tasks
    judged_share: float | None = None  # of all CPU seconds, in updates of judged runs


class ValidationPoint(msgspec.Struct, frozen=True):
    """A point of a learning curve."""

    characters: int  # tokens read
    seconds: float  # of optimizer steps
    bits: float  # bits per token, subsampled validation


ValidationCurve = tuple[ValidationPoint, ...]


class ComparisonResult(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a finished comparison has to show."""

    report: ComparisonReport
    timing: TimingReport
    curves: dict[str, tuple[ValidationCurve, ...]]  # entry -> one curve per seed
    samples: dict[str, str | None]  # entry -> text that its first run generates
    probes: ProbesReport | None = None


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
    """A run, trial, bracket or probing, and what remains of it."""

    name: str  # its directory
    purpose: Purpose
    role: Role
    cell: str
    seed: int
    hidden_size: int
    parameters: int
    status: JobStatus  # according to its directory
    fraction_done: float  # 0 to 1
    seconds: float  # remaining
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
    """Result of `compare-cells --dry-run`."""

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


def flatten(value: msgspec.Struct) -> dict[str, Any]:
    """Return the fields of nested structs as one dictionary, with dotted keys.

    Keys depend on the type alone: a missing struct has None in all its fields.
    """
    return _flatten_fields(type(value), value, "")


def _flatten_fields(
    struct_type: type[msgspec.Struct], value: msgspec.Struct | None, prefix: str
) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, hint in get_type_hints(struct_type).items():
        part = None if value is None else getattr(value, name)
        nested = _struct_type(hint)
        if nested:
            flat |= _flatten_fields(nested, part, f"{prefix}{name}.")
        else:
            flat[prefix + name] = msgspec.to_builtins(part)
    return flat


def _struct_type(hint: Any) -> type[msgspec.Struct] | None:
    """Return the struct in a type such as `Verdict` or `Verdict | None`; None for others."""
    options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    structs = (
        part for part in options if isinstance(part, type) and issubclass(part, msgspec.Struct)
    )
    return next(structs, None)
