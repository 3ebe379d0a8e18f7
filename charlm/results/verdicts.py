"""Verdicts of a comparison: what is judged, its values over seeds, and the evidence."""

from typing import Literal

import msgspec

from charlm.results.probe_limits import NotApplicableReason
from charlm.results.values import Count, Number

MAX_PAIRED_CELLS = 4  # up to which all pairs of cells are tested
MIN_UNITS = 20  # of the scored text, for an interval
Label = Literal["reference", "better", "worse", "equivalent", "inconclusive", "diverged"]
JudgedQuantity = Literal["bits_per_char", "beyond_64", "word_again", "order_reach"]
UnmeasuredCause = Literal["disabled", "diverged", "text_gone", "other_documents", "not_applicable"]


class SeedSummary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Summary over the seeds that have a result; None if none has."""

    mean: Number | None  # over seeds
    median: Number | None  # over seeds
    min: Number | None  # over seeds
    max: Number | None  # over seeds
    per_seed: tuple[Number | None, ...]  # score of each seed; None if it diverged


class InsufficientData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cause that rules out any verdict."""

    cause: Literal["seeds", "units", "reference_diverged"]  # quantity that is too small
    available: Count  # seeds or units; of the reference, seeds that did not diverge
    needed: Count  # seeds or units; of the reference, all seeds
    diverged: Count = 0  # seeds of the reference that diverged
    characters_needed: Count | None = None  # of the test text, if it has too few units


class Power(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ability of this data to decide about the margin."""

    seeds: Count | None  # that would detect it; None: the test text is too short for any number
    smallest_margin: Number  # smallest margin for which these data show equivalence


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cell against the reference, in bits per character; None where it cannot be computed."""

    label: Label  # the verdict
    difference: Number | None = None  # mean over seeds; below 0 the cell is better
    ci_low: Number | None = None  # 95 % confidence interval of this difference alone
    ci_high: Number | None = None
    p: Number | None = None  # of no difference, for this cell alone
    p_holm: Number | None = None  # corrected for the number of cells (Holm 1979)
    p_tost_holm: Number | None = None  # of a difference of at least the margin, corrected
    seed_std: Number | None = None  # standard deviation of the difference over seeds
    text_se: Number | None = None  # standard error that more seeds would not reduce
    insufficient: InsufficientData | None = None
    power: Power | None = None


class Judged(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A measured quantity of an entry: its value over seeds, its interval and its verdict."""

    value: SeedSummary  # in the unit of the quantity
    ci_low: Number | None  # 95 % confidence interval of the mean over seeds
    ci_high: Number | None
    verdict: Verdict | None  # against the reference; None for the reference, and if not judged


class MemoryCurve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bits per character lost when everything further back than k characters is other text."""

    k: tuple[Count, ...]  # characters of true context
    mean: tuple[Number | None, ...]  # at each k, over seeds
    per_seed: tuple[tuple[Number | None, ...], ...]  # of each seed at each k
    ci_low: tuple[Number | None, ...]  # 95 % confidence interval of the mean at each k
    ci_high: tuple[Number | None, ...]


class Unmeasured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A judged quantity that has no value, for all entries or for runs of one, and why."""

    quantity: JudgedQuantity  # that has no value
    cause: UnmeasuredCause  # why
    reason: NotApplicableReason | None = None  # of the probe, if it does not apply
    entry: str | None = None  # whose runs have no value; None: all
    seeds: Count | None = None  # number of these runs


class Memory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Memory of an entry, at the same places of the test split for all runs.

    A quantity is None where the text has no places to measure it.
    """

    beyond_64: Judged | None  # bits/char lost when all further back than 64 is other text
    word_again: Judged | None  # bits saved on a rare word because it was read 64 to 1,024 before
    order_reach: Judged | None  # characters: how far back their order matters
    curve: MemoryCurve | None  # beyond k for several k


class PairVerdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cell against another; where at most four cells are compared, all pairs are tested."""

    quantity: JudgedQuantity  # that is compared
    cell: str
    other: str  # the cell that it is compared with
    verdict: Verdict
