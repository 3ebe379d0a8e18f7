"""Relative effective context length of a group of models: Dai et al. (2019)."""

import math

import msgspec
import torch
from torch import Tensor

from charlm.probes.base import register_group_probe
from charlm.results.probes import Curve, ProbeResult, ScalarResult

RATIOS = (0.1, 0.5, 1.0)
MIN_RELATIVE_GAIN = 0.01  # of the perplexity


@register_group_probe("recl", of="context")
def relative_effective_context_length(group: dict[str, dict[str, Tensor]]) -> ProbeResult:
    """How long a context helps a model beyond what the best of its group knows from a shorter one?

    Question: From which context length on does reading further back no longer help, where the bar
    is the same for models that are good and for models that are not?

    Protocol: The losses are those of `context`: the same places of the same text for all runs. For
    a context c and one c' that is twice as long, the bar at a place is the lowest loss that any run
    of the group has there with c. A run's loss with c' counts where it is below the bar, else the
    bar does. Its gain is by how much the perplexity, 2 to the mean bits, is lower than that of the
    bar. The length is the first c whose gain is less than 1 %. Taken at the share r of places where
    the bar is highest: those that need more than c, the more so the smaller r is.

    Unit: The relative gain, by the context c in characters (or bytes); the length in the same.

    Chance: 0, the line: no help at all. As only what is below the bar counts, chance alone gives
    small gains, the more so where r is small or places are few.

    Source: Dai, Yang, Yang, Carbonell, Le & Salakhutdinov (2019), "Transformer-XL: Attentive
    Language Models Beyond a Fixed-Length Context", section 4.3 and appendix C, who lengthen c by a
    fixed number of words. Doubling it is ours, and so is taking the places where both were scored.
    """
    first, *_ = group.values()
    ks = first["ks"].tolist()
    kind = "bytes" if first.get("bytes") else "characters"
    doubled = [(ks.index(c), ks.index(2 * c)) for c in ks if 2 * c in ks]
    shorter = [ks[c] for c, _ in doubled]
    bits = torch.stack([kept["bits"].double() for kept in group.values()])  # (runs, ks, places)
    figures, numbers = [], []
    for ratio in RATIOS:
        gains = torch.stack(
            [perplexity_gain(bits[:, c], bits[:, twice], ratio) for c, twice in doubled]
        )
        saved = dict(zip(group, gains.T.tolist(), strict=True))
        curves = [Curve(name=run, x=shorter, y=one) for run, one in saved.items()]
        figures.append(
            ProbeResult(
                title=f"r = {ratio:g}",
                x="context that is doubled",
                y="share of perplexity saved",
                chance=0.0,
                curves=curves,
            )
        )
        for run, one in saved.items():
            stop = next(
                (c for c, y in zip(shorter, one, strict=True) if y < MIN_RELATIVE_GAIN), None
            )
            note = f"more than {shorter[-1]:,}" if stop is None else ""
            name = f"r = {ratio:g}"
            numbers.append(ScalarResult(name=name, value=stop, unit=kind, note=note, run=run))
    notes = [] if len(group) > 1 else ["one run alone is measured against itself"]
    main, *more = figures
    return msgspec.structs.replace(main, panels=more, numbers=numbers, notes=notes)


def perplexity_gain(short: Tensor, long: Tensor, ratio: float) -> Tensor:
    """The share of perplexity that each run saves by the longer context, (runs,).

    short, long: bits with either context, (runs, places), NaN where not scored.
    """
    scored = long.isfinite().all(0)
    bar = short[:, scored].amin(0)
    hardest = bar.topk(math.ceil(ratio * len(bar)))
    counted = torch.minimum(long[:, scored][:, hardest.indices], hardest.values)
    return 1 - 2 ** (counted.mean(1) - hardest.values.mean())
