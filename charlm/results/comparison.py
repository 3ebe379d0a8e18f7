"""Comparison reports: `report.json` of a comparison on a text or of existing runs."""

from types import UnionType
from typing import Any, Literal, get_args, get_type_hints

import msgspec

from charlm.results.baselines import BaselineResult
from charlm.results.comparison_plan import Matching, Role
from charlm.results.probes import Aspect, ProbesReport, ProfileEntry
from charlm.results.text import TextNote, UnitKind
from charlm.results.timing import TimingReport
from charlm.results.tuning import TuningReport
from charlm.results.values import Count, FileName, Integer, Number, RecordedSetting, Sha256
from charlm.results.verdicts import (
    Judged,
    JudgedQuantity,
    Memory,
    PairVerdict,
    SeedSummary,
    Unmeasured,
)

Unit = Literal["bits_per_char", "bits_per_byte"]
ComparisonKind = Literal["text", "task", "runs"]


class ComparisonMarker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`comparison.json`: marks a directory as a comparison of this kind."""

    format: Count
    kind: ComparisonKind  # subject of the comparison


class BudgetPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Validation of all entries after a part of the budget, with a decayed learning rate."""

    fraction: Number  # of the budget
    characters: Count  # read by each run
    bits: dict[str, Number | None]  # entry -> mean over seeds; None if no seed has a result
    ranking: tuple[str, ...]  # cells, lowest bits first


class BracketPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Validation of a cell at a learning rate."""

    factor: Number  # over the learning rate of the runs that are compared
    learning_rate: Number
    bits: Number | None  # mean over seeds, per character; None if all diverged
    seeds: Count  # runs with a result


class RateFit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Learning rate that is best by a parabola over log rate, in multiples of the recipe's."""

    best: Number  # at the end of the tried rates if it may be beyond
    ci_low: Number  # interval; all cells' hold with 95 %. It ends at the tried rates
    ci_high: Number
    loss: Number  # bits per character that the recipe loses against the best rate
    recipe_fits: bool  # False if it is outside of the interval and loses more than the margin


class Bracket(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cell at other learning rates, which shows whether its recipe fits the text."""

    cell: str
    characters: Count  # read by each run
    points: tuple[BracketPoint, ...]  # ascending
    seed_std: Number | None  # standard deviation of bits over seeds, at the rate between
    recipe_rate: Number  # learning rate of the recipe for so many characters
    fit: RateFit | None  # None if a rate has no result, or the seeds do not show the noise


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Effect of the budget: learning at a part of it, and at other learning rates."""

    points: tuple[BudgetPoint, ...]  # in the order of fractions; the last is the whole budget
    order_is_stable: bool | None  # whether every ranking is the same; None with one cell
    bits_per_doubling: dict[str, Number]  # entry -> bits that the last doubling brought
    bracket: tuple[Bracket, ...]  # of each cell; empty where learning rates are given or tuned
    gradient_reach: Count  # characters that the gradient reaches: the length of a window


class MemoryProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Memory profile of an entry: each part a mean over seeds; None if it was not measured."""

    holds: ProfileEntry | None = None  # bits about the character 16 back, by a linear readout
    uses: ProfileEntry | None = None  # bits lost if all further back than 64 is other text
    looks_up: ProfileEntry | None = None  # bits saved on a rare word that was read before
    recalls: ProfileEntry | None = None  # pairs, of a task
    tracks: ProfileEntry | None = None  # length, of a task
    counts: ProfileEntry | None = None  # repeats, of a task
    survives: ProfileEntry | None = None  # bits lost far from a fresh start

    @property
    def entries(self) -> tuple[ProfileEntry, ...]:
        """Parts that were measured."""
        return tuple(entry for entry in msgspec.structs.astuple(self) if entry is not None)


class OtherSetting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A setting of a model that is another one in a comparison on a task than in an entry."""

    entry: str  # name of the entry
    name: str  # of the setting
    in_task: RecordedSetting  # value of the task's runs
    in_entry: RecordedSetting  # value of the entry's runs


class ProfiledTask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A comparison on a task that memory profiles take a part from: other runs of the cells."""

    aspect: Aspect  # that it measures
    task: str  # name of the task
    lengths: tuple[Count, ...]  # of its curriculum
    matching: Matching  # what its models have in common
    ceiling: Number  # largest number of pairs, length or number of repeats that it tests
    other_settings: tuple[OtherSetting, ...] = ()  # of its models than of the entries


class EntryRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of a comparison: a cell that is judged, or the Transformer, which is not."""

    name: str  # cell, directory of a run if cells have the same name, or transformer
    cell: str  # built-in or own cell of its runs; of the Transformer, attention
    role: Role
    hidden_size: Count
    num_layers: Count
    parameters: Count
    relative_error: Number | None  # of the matched budget; None where nothing was matched
    state_size: Count  # floats carried per stream
    flops_per_character: Count  # matrix products, forward
    learning_rate: Number
    batch_size: Count
    bits_per_char: SeedSummary
    bits_per_byte: SeedSummary
    quality: Judged  # bits per character, or per byte where the text has no characters
    memory: Memory | None  # None if it was not measured
    seeds: tuple[Integer, ...]
    diverged: Count  # seeds that diverged
    runs: tuple[FileName, ...]  # names of the run directories, one per seed
    profile: MemoryProfile = MemoryProfile()


class ScoredCorpus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The text of a comparison."""

    sources: tuple[str, ...]  # names of files or of built-in corpora
    sha256: Sha256
    characters: Count | None  # of the whole text; None if it is not UTF-8
    splits: dict[str, tuple[Count, Count]]  # name -> first token and one past the last
    scored_split: str  # test or valid
    scored_sha256: Sha256 | None  # None if every run diverged
    notes: tuple[TextNote, ...] = ()  # oddities of the text and its splits


class Statistics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Statistical method of the verdicts."""

    reference: str  # the cell that the others are compared with
    level: Number  # familywise error rate
    correction: Literal["Holm"]  # for the number of cells
    units: Count  # files or blocks of the scored text: what is resampled
    unit_kind: UnitKind  # kind of these units
    margins: dict[JudgedQuantity, Number]  # judged quantity -> smallest relevant difference


class ComparisonReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`report.json` of a comparison on a text or of existing runs."""

    format: Count
    kind: ComparisonKind  # subject of the comparison
    protocol: str  # of scoring: "one-stream", "by-document", or both where existing runs differ
    corpus: ScoredCorpus
    matching: Matching
    settings: dict[str, RecordedSetting]  # settings that all runs share
    differing_settings: dict[str, dict[str, RecordedSetting]] | None  # setting -> entry -> value
    tuning: TuningReport | None
    environment: dict[str, str]
    unit: Unit  # unit that rows are ordered by
    statistics: Statistics
    rows: tuple[EntryRow, ...]  # lowest mean first
    pairs: tuple[PairVerdict, ...]  # empty with more than four cells
    budget: Budget | None  # None for existing runs
    ngram_memory: tuple[tuple[Count, Number], ...]  # (k, bits lost beyond k) of the n-gram
    unmeasured: tuple[Unmeasured, ...] = ()  # quantities without a value, and why
    linear_cells: tuple[str, ...] = ()  # because of which all cells were put into residual blocks
    bare_linear_cells: tuple[str, ...] = ()  # linear in their state, beside others, as requested
    profiled_tasks: tuple[ProfiledTask, ...] = ()  # that memory profiles take a part from
    baselines: tuple[BaselineResult, ...]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one flat dictionary per row, as pandas and polars take them."""
        return [flatten(row) for row in self.rows]

    @property
    def cells(self) -> tuple[EntryRow, ...]:
        """Rows of cells, which all have a verdict; the Transformer is left out."""
        return tuple(row for row in self.rows if row.role == "cell")


class ValidationPoint(msgspec.Struct, frozen=True):
    """A point of a learning curve."""

    characters: Count  # tokens read
    seconds: Number  # of optimizer steps
    bits: Number  # bits per token, subsampled validation


ValidationCurve = tuple[ValidationPoint, ...]


class ComparisonResult(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a finished comparison has to show."""

    report: ComparisonReport
    timing: TimingReport
    curves: dict[str, tuple[ValidationCurve, ...]]  # entry -> one curve per seed
    samples: dict[str, str | None]  # entry -> text that its first run generates
    probes: ProbesReport | None = None


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
