"""Memory of the runs of a comparison: what the probes measured, judged like bits per character.

The probes measure the same places for all runs, and sum over the units of the test split that the
scores are summed over. So both get the same two-way bootstrap of seeds and units.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from charlm.comparison.entries import Entry, PlannedRun, finished_runs
from charlm.comparison.order_reach import judge_order_reach
from charlm.comparison.paired_sample import PairedSample
from charlm.comparison.verdicts import Judgement, judge
from charlm.errors import DataError
from charlm.evaluation.blocks import Numbers
from charlm.execution.executor import Execution
from charlm.probes.base import MEMORY_PROBES
from charlm.probes.batch import probe_memory
from charlm.probes.cache import read_answer, read_artifacts
from charlm.probes.runner import run_name
from charlm.results.probe_limits import NotApplicableReason
from charlm.results.probes import NotApplicable, ProbesReport
from charlm.results.text import UnitKind
from charlm.results.verdicts import (
    Judged,
    JudgedQuantity,
    Memory,
    MemoryCurve,
    PairVerdict,
    Unmeasured,
    UnmeasuredCause,
)
from charlm.runs.run import Run

REPLACEMENT, SHUFFLE, WORDS = MEMORY_PROBES
BEYOND = 64  # characters of true context, of the number in the table
# Smallest relevant differences: bits per character, bits per word, octaves of characters.
MEMORY_MARGINS: Mapping[JudgedQuantity, float] = {
    "beyond_64": 0.002,
    "word_again": 0.1,
    "order_reach": 0.5,
}
PROBE_OF: Mapping[JudgedQuantity, str] = {
    "beyond_64": REPLACEMENT,
    "word_again": WORDS,
    "order_reach": SHUFFLE,
}


class Places(NamedTuple):
    """Places of a probe: sums over units of each run, at the same places.

    Attributes:
        lengths: Characters of context, (K,).
        sums: Entry -> sums (seeds, K, units); NaN for a seed that was not measured.
        counts: Places of each unit, (K, units).
        missing: Entry -> why the probe does not apply to some of its runs, or all; for each run.
    """

    lengths: NDArray[np.int64]
    sums: dict[str, Numbers]
    counts: Numbers
    missing: Mapping[str, tuple["NoPlaces", ...]] = {}

    def at(self, number: int) -> tuple[dict[str, Numbers], Numbers]:
        """Return sums (seeds, units) of each entry, and counts (units,), at one length."""
        return {name: sums[:, number] for name, sums in self.sums.items()}, self.counts[number]

    def of(self, names: Sequence[str]) -> "Places":
        """Return the places with the sums of these entries alone."""
        return self._replace(sums={name: self.sums[name] for name in names})


class NoPlaces(NamedTuple):
    """Cause for which a probe measured nothing."""

    cause: UnmeasuredCause
    reason: NotApplicableReason | None = None


class MemoryReport(NamedTuple):
    """Memory of all entries: what was measured, and why the rest was not."""

    rows: Mapping[str, Memory] = {}
    pairs: tuple[PairVerdict, ...] = ()
    unmeasured: tuple[Unmeasured, ...] = ()


def no_memory(cause: UnmeasuredCause) -> MemoryReport:
    """Return a report without any value, for one cause."""
    return MemoryReport(
        unmeasured=tuple(Unmeasured(quantity=quantity, cause=cause) for quantity in MEMORY_MARGINS)
    )


def measure_memory(entries: Sequence[Entry], execution: Execution) -> ProbesReport | None:
    """Probe all runs that have finished; None if none has."""
    finished = finished_runs(entries)
    return probe_memory(finished, execution) if finished else None


def judge_memory(
    entries: Sequence[Entry], directory: Path, reference: str, unit_kind: UnitKind
) -> MemoryReport:
    """Judge what the probes of `measure_memory` have measured.

    Args:
        entries: Cells, and the Transformer, which gets values without verdicts.
        directory: Directory of the comparison, with the results of the probes.
        reference: Cell that the others are compared with.
        unit_kind: Kind of the units of the test split.
    """
    cells = [entry.name for entry in entries if entry.role == "cell"]
    others = [entry.name for entry in entries if entry.role != "cell"]
    places = {probe: read_places(entries, directory / "probes", probe) for probe in MEMORY_PROBES}
    found: dict[JudgedQuantity, dict[str, Judged]] = {}
    pairs: list[PairVerdict] = []
    unmeasured = []
    for quantity in MEMORY_MARGINS:
        measured = places[PROBE_OF[quantity]]
        if isinstance(measured, NoPlaces):
            unmeasured.append(
                Unmeasured(quantity=quantity, cause=measured.cause, reason=measured.reason)
            )
            continue
        unmeasured += [
            Unmeasured(
                quantity=quantity,
                cause=why[0].cause,
                reason=why[0].reason,
                entry=name,
                seeds=len(why),
            )
            for name, why in measured.missing.items()
        ]
        judgement = _judge(quantity, measured.of(cells), reference, unit_kind)
        found[quantity] = {
            **judgement.cells,
            **{name: _without_verdict(quantity, measured, name, unit_kind) for name in others},
        }
        pairs += judgement.pairs
    replaced = places[REPLACEMENT]
    curves: dict[str, MemoryCurve] = {}
    if isinstance(replaced, Places):
        curves = {name: memory_curve(replaced, name, unit_kind) for name in replaced.sums}
    rows = {
        name: Memory(
            beyond_64=found.get("beyond_64", {}).get(name),
            word_again=found.get("word_again", {}).get(name),
            order_reach=found.get("order_reach", {}).get(name),
            curve=curves.get(name),
        )
        for name in [*cells, *others]
        if found
    }
    return MemoryReport(rows, tuple(pairs), tuple(unmeasured))


def read_places(entries: Sequence[Entry], directory: Path, probe: str) -> Places | NoPlaces:
    """Read what a probe measured of all runs.

    Args:
        entries: All entries.
        directory: Directory of the probes' results.
        probe: Name of the probe.
    """
    artifacts = {
        run.path: _artifacts(run, directory, probe) for entry in entries for run in entry.runs
    }
    measured = [found for found in artifacts.values() if isinstance(found, dict)]
    if not measured:
        reasons = [found for found in artifacts.values() if isinstance(found, NoPlaces)]
        return next((found for found in reasons if found.cause != "diverged"), reasons[0])
    first = measured[0]
    for other in measured:
        if any(
            not np.array_equal(other[name], first[name])
            or other["sums"].shape != first["sums"].shape
            for name in ("lengths", "counts")
        ):
            raise DataError(
                f"cannot read {directory}: the {probe} of two runs has other places. Try to remove "
                "this directory, then the same command measures it again"
            )
    nothing = np.full(first["sums"].shape, np.nan)
    return Places(
        lengths=first["lengths"].astype(np.int64),
        sums={
            entry.name: np.stack(
                [
                    found["sums"] if isinstance(found := artifacts[run.path], dict) else nothing
                    for run in entry.runs
                ]
            )
            for entry in entries
        },
        counts=first["counts"],
        missing={
            entry.name: why
            for entry in entries
            if (
                why := tuple(
                    found
                    for run in entry.runs
                    if isinstance(found := artifacts[run.path], NoPlaces)
                    and found.cause != "diverged"
                )
            )
        },
    )


def _artifacts(run: PlannedRun, directory: Path, probe: str) -> dict[str, Numbers] | NoPlaces:
    """Return the arrays of a run, or why there are none."""
    opened = Run(run.path)
    if not opened.report:
        return NoPlaces("diverged")
    path = directory / run_name(opened)
    outcome = read_answer(path, probe).outcome
    if isinstance(outcome, NotApplicable):
        return NoPlaces("not_applicable", outcome.reason)
    arrays = {name: tensor.numpy() for name, tensor in read_artifacts(path, probe).items()}
    if not _are_places(arrays) or (probe == REPLACEMENT and BEYOND not in arrays["lengths"]):
        raise DataError(
            f"cannot read {path}: {probe}.safetensors has not the numbers of this probe. Try to "
            "remove this directory, then the same command measures it again"
        )
    return arrays


def _are_places(arrays: Mapping[str, Numbers]) -> bool:
    """Return whether arrays are lengths (K,), and finite sums and counts (K, units) of them."""
    if arrays.keys() != {"lengths", "sums", "counts"}:
        return False
    lengths, sums, counts = (arrays[name] for name in ("lengths", "sums", "counts"))
    return bool(
        lengths.ndim == 1
        and lengths.size
        and lengths.dtype == np.int64
        and (np.diff(lengths, prepend=0) > 0).all()
        and sums.shape == counts.shape == (lengths.size, sums.size // lengths.size)
        and sums.size
        and np.isfinite(sums).all()
        and np.isfinite(counts).all()
        and (counts >= 0).all()
        and counts.any()
    )


def _judge(
    quantity: JudgedQuantity, places: Places, reference: str, unit_kind: UnitKind
) -> Judgement:
    margin = MEMORY_MARGINS[quantity]
    if quantity == "order_reach":
        return judge_order_reach(
            places.sums,
            places.counts,
            places.lengths.tolist(),
            reference,
            unit_kind=unit_kind,
            margin=margin,
        )
    sums, counts = places.at(_number(quantity, places))
    return judge(
        sums,
        counts,
        reference,
        margin,
        quantity=quantity,
        unit_kind=unit_kind,
        higher_is_better=True,
    )


def _number(quantity: JudgedQuantity, places: Places) -> int:
    """Return the index of the length that a quantity is about."""
    return places.lengths.tolist().index(BEYOND) if quantity == "beyond_64" else 0


def _without_verdict(
    quantity: JudgedQuantity, places: Places, name: str, unit_kind: UnitKind
) -> Judged:
    """Return the value of an entry that is not judged: as of a cell that is alone."""
    alone = _judge(quantity, places.of([name]), name, unit_kind).cells[name]
    return msgspec.structs.replace(alone, verdict=None)


def memory_curve(places: Places, name: str, unit_kind: UnitKind) -> MemoryCurve:
    """Return the bits that an entry loses beyond k, for each k."""
    samples = [
        PairedSample.build(*places.of([name]).at(number), unit_kind, 0)
        for number in range(len(places.lengths))
    ]
    summaries = [sample.summary(name) for sample in samples]
    intervals = [sample.interval(name) or (None, None) for sample in samples]
    return MemoryCurve(
        k=tuple(places.lengths.tolist()),
        mean=tuple(summary.mean for summary in summaries),
        per_seed=tuple(zip(*(summary.per_seed for summary in summaries), strict=True)),
        ci_low=tuple(low for low, _ in intervals),
        ci_high=tuple(high for _, high in intervals),
    )
