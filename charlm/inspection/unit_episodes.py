"""Activations of a unit at the episodes of a feature: as it begins, while it lasts, elsewhere."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from charlm.results.inspection import GateInEpisodes, UnitEpisodes

Series = NDArray[np.floating]  # (length, streams); each stream is a text of its own
MAX_DELAY = 1  # characters after the first at which a unit may change, if it then
MIN_DELAYED = 1.25  # changes this many times as much as at the first
MIN_EPISODES = 20  # with fewer, a mean or median says little
DECIMALS = 4


def summarize_episodes(
    feature: Series, values: Series, gates: Mapping[str, tuple[str, Series]]
) -> UnitEpisodes | None:
    """Return what a unit does at the episodes of a feature; None if there are too few.

    An episode is a run of characters at which the feature is above 0. One that the beginning or the
    end of a stream cuts off does not count.

    Args:
        feature: Values of the feature.
        values: Those of the unit's state.
        gates: Name -> description and values of the gate.
    """
    inside = feature > 0
    spread = float(values.std())
    if inside.all() or not inside.any() or not spread:
        return None
    inside_mean, outside_mean = values[inside].mean(), values[~inside].mean()
    is_held = (values - (inside_mean + outside_mean) / 2) * (inside_mean - outside_mean) > 0
    episodes = [
        (start, end, stream)
        for stream in range(feature.shape[1])
        for start, end in find_runs(inside[:, stream])
        if start > 0 and end + MAX_DELAY <= len(inside)
    ]
    if len(episodes) < MIN_EPISODES:
        return None
    starts, ends, streams = np.array(episodes).T
    lengths = ends - starts
    steps = [
        abs((values[starts + delay, streams] - values[starts - 1, streams]).mean())
        for delay in range(MAX_DELAY + 1)
    ]
    is_delayed = np.median(lengths) > MAX_DELAY and steps[MAX_DELAY] > MIN_DELAYED * steps[0]
    delay = MAX_DELAY if is_delayed else 0
    changes = (values[starts + delay, streams] - values[starts - 1, streams]) / spread
    holds = []
    for start, stream in zip(starts + delay, streams, strict=True):
        left = np.flatnonzero(~is_held[start:, stream])
        holds.append(int(left[0]) if len(left) else len(inside) - start)
    is_start = np.zeros_like(inside)
    is_start[starts + delay, streams] = True
    inner = inside & ~is_start
    return UnitEpisodes(
        episodes=len(episodes),
        delay=delay,
        median_length=float(np.median(lengths)),
        change_at_start=round(float(changes.mean()), DECIMALS),
        change_error=round(float(changes.std(ddof=1)) / math.sqrt(len(changes)), DECIMALS),
        median_hold=float(np.median(holds)),
        gates=[
            GateInEpisodes(
                variable=variable,
                description=description,
                at_start=mean_where(gate, is_start),
                inside=mean_where(gate, inner) if inner.any() else None,
                outside=mean_where(gate, ~inside),
            )
            for variable, (description, gate) in gates.items()
        ],
    )


def find_runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return start and end of each run of True, (length,)."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def mean_where(values: Series, flags: NDArray[np.bool_]) -> float:
    """Return the mean of the values with a flag."""
    return round(float(values[flags].mean()), DECIMALS)
