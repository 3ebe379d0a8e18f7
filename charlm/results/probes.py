"""Probe results and `report.json` of `charlm probe`."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """A curve of a figure; y is None where too few events were counted."""

    name: str = ""  # name in the legend
    x: Sequence[float]  # position on the axis
    y: Sequence[float | None]  # value
    error: Sequence[float | None] | None = None  # standard error of each y
    count: Sequence[int] | None = None  # events behind each y


class ScalarResult(msgspec.Struct, frozen=True, kw_only=True):
    """A single number."""

    name: str  # of the number
    value: float | None  # None: beyond the range that was measured
    unit: str  # of the value
    low: float | None = None  # 95 % confidence interval
    high: float | None = None  # its upper end
    lower_bound: float | None = None  # end of the range, if the value or interval is beyond it
    base_rate: float | None = None  # value of always giving the most frequent answer
    never_forgets: bool = False  # True if the value is beyond any range


class NoPlaces(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Lengths of context for which the text has no place."""

    lengths: tuple[int, ...]  # characters of true context


class PlacesLeftOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Places before which there are fewer than two words, so that nothing can be shuffled."""

    left_out: int  # number of places
    total: int  # number of places that were drawn
    window: int  # characters before a place that are shuffled


class CountedAtEnd(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """N-grams or words that were counted on the end of a long training text only."""

    counted: Literal["n-grams", "words"]
    characters: int  # at the end of the training text


class NotCommensurable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Values relative to those of the same model at lag 0: two cells cannot be compared by them."""


class ConstantState(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A state that is the same at all places, so that it has no gradient."""

    stage: Literal["trained", "untrained"]


class GradientOverflow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A curve that is not drawn where the gradient overflows."""

    curve: str  # name of the curve


class NoGate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A layer without a gate that keeps the state."""

    layer: int  # from 1


class ShareKept(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """The share of the state that a layer keeps, by its cell."""

    layer: int  # from 1
    expression: str  # in the notation of the cell


class ConstantUnits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Units of a layer that never change."""

    layer: int  # from 1
    units: int  # number of these units


Note = (
    NoPlaces
    | PlacesLeftOut
    | CountedAtEnd
    | NotCommensurable
    | ConstantState
    | GradientOverflow
    | NoGate
    | ShareKept
    | ConstantUnits
)


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a probe for one run: one figure or several, and numbers."""

    title: str = ""  # "" for a single figure
    x: str  # label of the axis, with unit
    y: str  # label of the axis, with unit
    log_x: bool = True  # True for a logarithmic axis
    log_y: bool = False  # True for a logarithmic axis
    chance: float | None = None  # y without any memory
    curves: Sequence[Curve] = ()
    panels: Sequence["ProbeResult"] = ()  # further figures with other axes or curves
    numbers: Sequence[ScalarResult] = ()
    notes: Sequence[Note] = ()  # limits that a reader of the figure must know


class TextTooShort(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A text that is too short for a probe."""

    text: Literal["probed", "training"]  # which text
    characters: int  # tokens of the text
    needed: int  # tokens


class TooFewPlaces(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A text with too few places that a probe could measure."""

    places: int
    needed: int


class TooFewWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Places that follow two words are too few: nothing can be shuffled before the others."""

    places: int  # that follow two words
    total: int  # that were drawn
    window: int  # characters in which there must be two words


class NoRepeatedWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A text in which too few rare words come again at the distance in question."""

    words: int  # that come again
    needed: int
    nearest: int  # smallest distance, in characters
    farthest: int  # largest distance, in characters


class TooFewClosers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A text that closes too few brackets."""

    closers: int
    needed: int


class TooFewLetters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A training text with too few different letters to make names of."""

    letters: int
    needed: int


class NoSeparator(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A training text without a comma, or without a space, to separate names."""


class NotAccessible(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A model whose inside a probe cannot see."""

    part: Literal["cells", "gradients"]


class NoGradient(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A model whose loss or state has no gradient at lag 0."""

    source: Literal["loss", "state"]


class NotFinite(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A model whose outputs are not finite, since its training diverged."""


NotApplicableReason = (
    TextTooShort
    | TooFewPlaces
    | TooFewWords
    | NoRepeatedWords
    | TooFewClosers
    | TooFewLetters
    | NoSeparator
    | NotAccessible
    | NoGradient
    | NotFinite
)


class NotApplicable(msgspec.Struct, frozen=True, tag="not_applicable", tag_field="status"):
    """A probe that does not apply to this run or text."""

    reason: NotApplicableReason


class Measured(msgspec.Struct, frozen=True, tag="measured", tag_field="status"):
    """A probe that was measured."""

    result: ProbeResult


Outcome = Measured | NotApplicable


class ProbeAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`PROBE.json`: the cached outcome of a probe for one run."""

    cache_key: "ProbeCacheKey"
    seconds: float  # processor time of the probe
    artifacts_sha256: str  # of PROBE.safetensors
    outcome: Outcome


class ProbedText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The text that a probe reads."""

    corpus_sha256: str
    text_sha256: str
    split: str  # of the run's text
    characters: int  # tokens
    vocabulary_kind: str  # "chars" or "bytes"


class ProbeCacheKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that determines the result of a probe."""

    format: int
    charlm: str  # version
    weights_sha256: str
    text: ProbedText
    seed: int


class ProbeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a probing."""

    split: str = "test"  # split to read
    max_chars: int = 250_000  # characters of the split that are read, at most
    seed: int = 0
    checkpoint: str = "best"  # best or last


class ProbeMarker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`probes.json`: marks a directory of probe results."""

    format: int
    request: ProbeRequest
    run: str  # name of the run; "" for several
    corpus_sha256: str


class ProbedRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run in a report of probes."""

    name: str  # of its directory
    path: str  # of its directory
    cell: str
    hidden_size: int
    num_layers: int
    parameters: int
    state_size: int
    seed: int
    bits_per_char: float | None  # test score in its report; None if there is none
    weights_sha256: str
    step: int
    text: ProbedText


class ProbeDocumentation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Documentation of a probe, from its docstring."""

    question: str  # question that the probe answers
    protocol: str  # method of measurement
    unit: str  # of the result
    chance: str  # result of a model without memory
    source: str  # paper that the probe is from


class ProbeSummary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A probe and its outcomes."""

    documentation: ProbeDocumentation
    seconds: dict[str, float]  # processor time, by name of the run
    outcomes: dict[str, Outcome]  # by name of the run


class ProbesReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`report.json` of `charlm probe`."""

    format: int
    charlm: str  # version
    command: str
    text: ProbedText
    runs: tuple[ProbedRun, ...]
    probes: dict[str, ProbeSummary]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return a flat record per measured number, for pandas or polars."""
        return [
            {"probe": probe, **msgspec.to_builtins(number), "run": run}
            for probe, summary in self.probes.items()
            for run, outcome in summary.outcomes.items()
            if isinstance(outcome, Measured)
            for number in outcome.result.numbers
        ]
