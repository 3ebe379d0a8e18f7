"""Values of several cells on the same seeds and units of text, ready to be resampled."""

from collections.abc import Mapping
from statistics import fmean, median
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from charlm.comparison.bootstrap import (
    BootstrapDistribution,
    MeanEstimate,
    estimate_mean,
    studentized_bootstrap,
)
from charlm.comparison.sample_size import (
    MIN_SEEDS,
    SIGNIFICANCE_LEVEL,
    check_sample_size,
)
from charlm.evaluation.blocks import Numbers
from charlm.results.text import UnitKind
from charlm.results.verdicts import InsufficientData, SeedSummary

MAX_UNITS = 200  # more files are resampled in groups: that changes the time, not the result

Counts = NDArray[np.float64] | NDArray[np.int64]
Pair = tuple[str, str]  # a cell and the one that it is compared with


class PairedSample(NamedTuple):
    """Sums of one quantity per cell, seed and unit.

    Attributes:
        sums: Cell -> (seeds, units); zeros where a seed diverged.
        counts: What each unit's sum is divided by, (units,).
        finished: Cell -> seeds that did not diverge, (seeds,).
        unit_kind: What a unit is. Neighboring blocks may be alike, files and lines are not.
        seed: Of the resampling.
    """

    sums: Mapping[str, Numbers]
    counts: Numbers
    finished: Mapping[str, NDArray[np.bool_]]
    unit_kind: UnitKind
    seed: int

    @classmethod
    def build(
        cls, values: Mapping[str, Numbers], counts: Counts, unit_kind: UnitKind, seed: int
    ) -> Self:
        """Leave out units without a count, and group units if there are many.

        Args:
            values: Cell -> sums, (seeds, units); a seed with one that is not finite diverged.
            counts: What each unit's sum is divided by, (units,).
            unit_kind: What a unit is.
            seed: Of the resampling.
        """
        finished: dict[str, NDArray[np.bool_]] = {
            cell: np.asarray(np.isfinite(sums).all(1)) for cell, sums in values.items()
        }
        kept = np.flatnonzero(counts)
        groups = np.array_split(kept, max(1, min(len(kept), MAX_UNITS))) if len(kept) else []

        def group(numbers: Numbers) -> Numbers:
            totals = [numbers[..., members].sum(-1) for members in groups]
            return np.stack(totals, -1) if totals else np.zeros((*numbers.shape[:-1], 0))

        sums = {
            cell: group(np.where(finished[cell][:, None], cell_values, 0.0))
            for cell, cell_values in values.items()
        }
        return cls(sums, group(np.asarray(counts, float)), finished, unit_kind, seed)

    def common_seeds(self, pair: Pair) -> NDArray[np.bool_]:
        """Return the seeds that neither cell lost, (seeds,)."""
        return self.finished[pair[0]] & self.finished[pair[1]]

    def difference(self, pair: Pair) -> float | None:
        """Return the mean difference over common seeds; None if there is none."""
        differences, total = self._differences(pair), float(self.counts.sum())
        return float(differences.mean(0).sum()) / total if len(differences) and total else None

    def test(self, pair: Pair) -> tuple[MeanEstimate, BootstrapDistribution]:
        """Return the difference of two cells and its bootstrap distribution."""
        return self._resample(self._differences(pair))

    def interval(self, cell: str) -> tuple[float, float] | None:
        """Return the 95 % interval of a cell's own mean; None if there are too few data."""
        kept = self.finished[cell]
        if check_sample_size(int(kept.sum()), len(self.counts)):
            return None
        _, distribution = self._resample(self.sums[cell][kept])
        return distribution.interval(SIGNIFICANCE_LEVEL)

    def summary(self, cell: str) -> SeedSummary:
        """Return a cell's values over seeds."""
        total = float(self.counts.sum())
        return summarize_seeds(
            [
                float(sums.sum()) / total if finished and total else None
                for sums, finished in zip(self.sums[cell], self.finished[cell], strict=True)
            ]
        )

    def insufficient(self, pair: Pair) -> InsufficientData | None:
        """Return why these two cells cannot be compared; None if they can."""
        common, seeds = int(self.common_seeds(pair).sum()), len(self.finished[pair[0]])
        if not self.finished[pair[1]].any():
            return InsufficientData(
                cause="reference_diverged", available=0, needed=seeds, diverged=seeds
            )
        if common < MIN_SEEDS:
            return InsufficientData(
                cause="seeds", available=common, needed=MIN_SEEDS, diverged=seeds - common
            )
        return check_sample_size(common, len(self.counts), self.unit_kind)

    def _differences(self, pair: Pair) -> Numbers:
        kept = self.common_seeds(pair)
        differences: Numbers = self.sums[pair[0]][kept] - self.sums[pair[1]][kept]
        return differences

    def _resample(self, sums: Numbers) -> tuple[MeanEstimate, BootstrapDistribution]:
        estimate = estimate_mean(sums, self.counts, are_ordered=self.unit_kind == "block")
        return estimate, studentized_bootstrap(estimate, self.seed)


def summarize_seeds(per_seed: list[float | None]) -> SeedSummary:
    """Summarize a quantity over the seeds that have it; None where a seed diverged."""
    known = [value for value in per_seed if value is not None]
    if not known:
        return SeedSummary(mean=None, median=None, min=None, max=None, per_seed=tuple(per_seed))
    return SeedSummary(
        mean=fmean(known),
        median=median(known),
        min=min(known),
        max=max(known),
        per_seed=tuple(per_seed),
    )
