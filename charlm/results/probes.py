"""Probe results and `report.json` of `charlm probe`."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from charlm.results.probe_limits import NotApplicableReason, Note
from charlm.results.values import Count, Integer, Number, Sha256


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """A curve of a figure; y is None where too few events were counted."""

    name: str = ""  # name in the legend
    x: Sequence[Number]  # position on the axis
    y: Sequence[Number | None]  # value
    error: Sequence[Number | None] | None = None  # standard error of each y
    count: Sequence[Count] | None = None  # events behind each y


class ScalarResult(msgspec.Struct, frozen=True, kw_only=True):
    """A single number."""

    name: str  # of the number
    value: Number | None  # None: beyond the range that was measured
    unit: str  # of the value
    low: Number | None = None  # 95 % confidence interval
    high: Number | None = None  # its upper end
    lower_bound: Number | None = None  # end of the range, if the value or interval is beyond it
    base_rate: Number | None = None  # value of always giving the most frequent answer
    never_forgets: bool = False  # True if the value is beyond any range


Aspect = Literal["holds", "uses", "looks up", "recalls", "tracks", "counts", "survives"]


class ProfileEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Number about a memory, between chance and ceiling."""

    aspect: Aspect  # of the memory
    value: Number  # that was measured
    low: Number | None  # 95 % confidence interval
    high: Number | None  # its upper end
    unit: str  # of the value
    chance: Number  # value without any memory; of "survives": of a model that has failed
    ceiling: Number  # value of a perfect memory


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a probe for one run: one figure or several, and numbers."""

    title: str = ""  # "" for a single figure
    x: str  # label of the axis, with unit
    y: str  # label of the axis, with unit
    log_x: bool = True  # True for a logarithmic axis
    log_y: bool = False  # True for a logarithmic axis
    chance: Number | None = None  # y without any memory
    ceiling: Number | None = None  # y of a memory that holds all
    curves: Sequence[Curve] = ()
    panels: Sequence["ProbeResult"] = ()  # further figures with other axes or curves
    numbers: Sequence[ScalarResult] = ()
    profile: ProfileEntry | None = None  # its part of the memory profile of a run
    notes: Sequence[Note] = ()  # limits that a reader of the figure must know


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
    seconds: Number  # processor time of the probe
    artifacts_sha256: Sha256  # of PROBE.safetensors
    artifacts_bytes: Count  # its size
    outcome: Outcome


class ProbedText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The text that a probe reads."""

    corpus_sha256: Sha256
    text_sha256: Sha256
    split: str  # of the run's text
    characters: Count  # tokens
    vocabulary_kind: str  # "chars" or "bytes"


class ProbeCacheKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that determines the result of a probe."""

    format: Count
    charlm: str  # version
    weights_sha256: Sha256
    text: ProbedText
    seed: Integer


class ProbeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a probing."""

    split: str = "test"  # split to read
    max_chars: Count = 250_000  # characters of the split that are read, at most
    seed: Integer = 0
    checkpoint: Literal["best", "last"] = "best"  # whose weights are read


class ProbeMarker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`probes.json`: marks a directory of probe results."""

    format: Count
    request: ProbeRequest
    run: str  # name of the run; "" for several
    corpus_sha256: Sha256


class ProbedRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run in a report of probes."""

    name: str  # of its directory
    path: str  # of its directory
    cell: str
    hidden_size: Count
    num_layers: Count
    parameters: Count
    state_size: Count
    seed: Integer
    bits_per_char: Number | None  # test score in its report; None if there is none
    weights_sha256: Sha256
    step: Count
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
    seconds: dict[str, Number]  # processor time, by name of the run
    outcomes: dict[str, Outcome]  # by name of the run


class ProbesReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`report.json` of `charlm probe`."""

    format: Count
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
