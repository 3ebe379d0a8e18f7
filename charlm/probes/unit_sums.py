"""Sums of a quantity over the units of a text: what probes measure and comparisons resample."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from charlm.probes.base import Artifacts, ProbeContext
from charlm.probes.places import unit_of
from charlm.probes.windows import Positions
from charlm.results.probes import Curve, ProfileEntry, ScalarResult

Floats = NDArray[np.float64]
Z = 1.96  # of a 95 % interval


@dataclass(frozen=True)
class UnitSums:
    """Sums and counts of measured values, by length of context and unit of the text.

    The mean at a length is the sum over all units by the count over all units, so that each place
    counts the same. Its error is that of a ratio of two means over units.
    """

    lengths: tuple[int, ...]  # (K,), characters of true context
    sums: Floats  # (K, units)
    counts: Floats  # (K, units)

    @property
    def mean(self) -> Floats:
        """Mean at each length, (K,); NaN without a place."""
        total = self.counts.sum(1)
        return np.divide(self.sums.sum(1), total, out=np.full(len(total), np.nan), where=total > 0)

    @property
    def error(self) -> Floats:
        """Standard error of each mean over units, (K,); NaN if fewer than two have a place."""
        residuals = self.sums - self.mean[:, None] * self.counts
        units = np.count_nonzero(self.counts, axis=1)
        enough = units > 1
        scale = np.divide(units, units - 1, out=np.full(len(units), np.nan), where=enough)
        total = self.counts.sum(1)
        variance = scale * (residuals**2).sum(1)
        return np.divide(np.sqrt(variance), total, out=np.full(len(total), np.nan), where=enough)

    def artifacts(self) -> Artifacts:
        """Return what a comparison reads."""
        return {
            "lengths": torch.tensor(self.lengths),
            "sums": torch.from_numpy(self.sums),
            "counts": torch.from_numpy(self.counts),
        }

    def curve(self) -> Curve:
        """Return the means with their errors; None where there is no place."""
        return Curve(
            x=list(self.lengths),
            y=[none_if_nan(value) for value in self.mean],
            error=[none_if_nan(value) for value in self.error],
            count=[int(value) for value in self.counts.sum(1)],
        )

    def number(self, row: int, name: str, unit: str) -> ScalarResult:
        """Return the mean at a length with its 95 % interval."""
        mean, error = float(self.mean[row]), float(self.error[row])
        low, high = none_if_nan(mean - Z * error), none_if_nan(mean + Z * error)
        return ScalarResult(name=name, value=none_if_nan(mean), unit=unit, low=low, high=high)


def sum_by_unit(
    context: ProbeContext,
    lengths: Sequence[int],
    targets: Sequence[Positions],
    values: list[Floats],
) -> UnitSums:
    """Return sums of values by the unit that their token is in.

    Args:
        context: Supplies the units.
        lengths: Characters of true context, (K,).
        targets: For each length, positions of the tokens.
        values: For each length, the value at each of these positions.
    """
    num_units = len(context.unit_edges) - 1
    units = [unit_of(context, positions) for positions in targets]
    sums = [np.bincount(u, v, num_units) for u, v in zip(units, values, strict=True)]
    counts = [np.bincount(u, minlength=num_units).astype(np.float64) for u in units]
    return UnitSums(tuple(lengths), np.stack(sums), np.stack(counts))


def profile_entry(
    sums: UnitSums,
    length: int,
    aspect: Literal["holds", "uses", "looks up", "survives"],
    unit: str,
    *,
    chance: float = 0.0,
    ceiling: float,
) -> ProfileEntry | None:
    """Return a mean as a part of the memory profile; None if it was not measured.

    Args:
        sums: Sums of what was measured.
        length: The length whose mean it is.
        aspect: What the mean says of the memory.
        unit: Of the mean.
        chance: Mean without any memory.
        ceiling: Mean of a perfect memory.
    """
    if length not in sums.lengths:
        return None
    number = sums.number(sums.lengths.index(length), aspect, unit)
    if number.value is None:
        return None
    return ProfileEntry(
        aspect=aspect,
        value=number.value,
        low=number.low,
        high=number.high,
        unit=unit,
        chance=chance,
        ceiling=ceiling,
    )


def none_if_nan(value: float) -> float | None:
    """Return the value, or None for NaN."""
    return None if np.isnan(value) else float(value)
