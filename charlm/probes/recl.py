"""Relative effective context length of a group of models: Dai et al. (2019)."""

import math
from itertools import pairwise

import msgspec
import torch
from torch import Tensor

from charlm.probe import Curve, Found, Number, group_probe

RATIOS = (0.1, 0.5, 1.0)
ENOUGH = 0.01  # of the perplexity


@group_probe("recl", of="context")
def recl(group: dict[str, dict[str, Tensor]]) -> Found:
    """How long a context helps a model beyond what the best of its group knows from a shorter one?

    Question: From which context length on does reading further back no longer help, where the bar
    is the same for models that are good and for models that are not?

    Protocol: The losses are those of `context`: the same places of the same text for all runs. For
    a context c and the next longer one c' that was asked, twice as long, the bar at a place is the
    lowest loss that any run of the group has there with c. A run's loss with c' counts where it is
    below the bar, else the bar does. Its gain is by how much the perplexity, 2 to the mean bits, is
    lower than that of the bar. The length is the first c whose gain is less than 1 %. Taken at the
    share r of places where the bar is highest: those that need more than c, the more so the smaller
    r is.

    Unit: Relative gain by the longer context c', in characters (or bytes); the length in the same.

    Chance: 0, the line: no help at all. As only what is below the bar counts, chance alone gives
    small gains, the more so where r is small or places are few.

    Source: Dai, Yang, Yang, Carbonell, Le & Salakhutdinov (2019), "Transformer-XL: Attentive
    Language Models Beyond a Fixed-Length Context", section 4.3 and appendix C, who lengthen c by a
    fixed number of words. Doubling it is ours, and so is taking the places where both were scored.
    """
    first, *_ = group.values()
    ks = first["ks"].tolist()
    bits = torch.stack([kept["bits"].double() for kept in group.values()])  # (runs, ks, places)
    figures, numbers = [], []
    for ratio in RATIOS:
        gains = gains_of(bits, ratio)
        curves = [Curve(name=run, x=ks[1:], y=one) for run, one in zip(group, gains, strict=True)]
        y = f"perplexity saved, r = {ratio:g}"
        figures.append(
            Found(title=f"r = {ratio:g}", x="longer context", y=y, chance=0.0, curves=curves)
        )
        for run, one in zip(group, gains, strict=True):
            stop = next((c for c, saved in zip(ks, one, strict=False) if saved < ENOUGH), None)
            note = f"more than {ks[-2]:,}" if stop is None else ""
            name = f"{run}, r = {ratio:g}"
            numbers.append(Number(name=name, value=stop, unit="characters", note=note))
    notes = [] if len(group) > 1 else ["one run alone is measured against itself"]
    main, *more = figures
    return msgspec.structs.replace(main, more=more, numbers=numbers, notes=notes)


def gains_of(bits: Tensor, ratio: float) -> list[list[float]]:
    """The share of perplexity saved by each next longer context, run by run.

    bits: (runs, contexts, places), NaN where not scored.
    """
    found = []
    for short, long in pairwise(bits.unbind(1)):
        scored = long.isfinite().all(0)
        bar = short[:, scored].amin(0)
        hardest = bar.topk(math.ceil(ratio * len(bar)))
        counted = torch.minimum(long[:, scored][:, hardest.indices], hardest.values)
        found.append(1 - 2 ** (counted.mean(1) - hardest.values.mean()))
    gains: list[list[float]] = torch.stack(found, dim=1).tolist()
    return gains
