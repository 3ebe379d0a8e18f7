"""Relative effective context length (RECL) of a group of models (Dai et al., 2019)."""

import math
from collections.abc import Mapping

import msgspec
import torch
from torch import Tensor

from charlm.probes.base import Artifacts, register_group_probe
from charlm.results.probes import Curve, ProbeResult, ScalarResult

RATIOS = (0.1, 0.5, 1.0)  # share of positions, those with the highest bar
MIN_RELATIVE_GAIN = 0.01  # of the perplexity


@register_group_probe("relative-context", depends_on="context-truncation")
def relative_effective_context_length(artifacts_by_run: Mapping[str, Artifacts]) -> ProbeResult:
    """How long a context helps a model beyond what the best of its group knows from a shorter one?

    Question: From which context length on does a longer context no longer help, measured against a
    bar that is the same for good and for bad models?

    Protocol: The losses are those of `context-truncation`, at the same positions of the same text
    for all runs. For a context c and another that is twice as long, the bar at a position is the
    lowest loss of any run of the group with context c. A run's loss with the longer context counts
    where it is below the bar; elsewhere the bar counts. The gain of a run is the relative reduction
    of the perplexity, 2 to the mean bits. Its length is the first c whose gain is below 1 %. The
    gain is computed on the share r of positions with the highest bar; a smaller r selects positions
    that depend more on distant context.

    Unit: Relative gain by the context c in characters (or bytes); the length in the same unit.

    Chance: The line is 0: no gain. Only losses below the bar count, so chance alone gives small
    gains, larger ones for a small r or few positions.

    Source: Dai, Yang, Yang, Carbonell, Le & Salakhutdinov (2019), "Transformer-XL: Attentive
    Language Models Beyond a Fixed-Length Context", section 4.3 and appendix C, who lengthen c by a
    fixed number of words. Doubling c, and using the positions where both lengths were scored, are
    additions.
    """
    first, *_ = artifacts_by_run.values()
    context_lengths: list[int] = first["context_lengths"].tolist()
    unit = "bytes" if first.get("is_bytes") else "characters"
    row_pairs = [
        (row, context_lengths.index(2 * c))
        for row, c in enumerate(context_lengths)
        if 2 * c in context_lengths
    ]
    shorter_lengths = [context_lengths[row] for row, _ in row_pairs]
    # (runs, context lengths, positions)
    bits = torch.stack([artifacts["bits"].double() for artifacts in artifacts_by_run.values()])
    panels, numbers = [], []
    for ratio in RATIOS:
        title = f"r = {ratio:g}"
        gains = torch.stack(
            [perplexity_gain(bits[:, row], bits[:, longer], ratio) for row, longer in row_pairs]
        )
        gains_by_run: dict[str, list[float]] = dict(
            zip(artifacts_by_run, gains.T.tolist(), strict=True)
        )
        panels.append(
            ProbeResult(
                title=title,
                x=f"shorter context, {unit}",
                y="relative gain in perplexity",
                chance=0.0,
                curves=[
                    Curve(name=run, x=shorter_lengths, y=gain) for run, gain in gains_by_run.items()
                ],
            )
        )
        for run, gain in gains_by_run.items():
            pairs = zip(shorter_lengths, gain, strict=True)
            length = next((c for c, y in pairs if y < MIN_RELATIVE_GAIN), None)
            bound = float(shorter_lengths[-1]) if length is None else None
            numbers.append(
                ScalarResult(name=title, value=length, unit=unit, lower_bound=bound, run=run)
            )
    notes = [] if len(artifacts_by_run) > 1 else ["single run, measured against itself"]
    main, *further_panels = panels
    return msgspec.structs.replace(main, panels=further_panels, numbers=numbers, notes=notes)


def perplexity_gain(shorter: Tensor, longer: Tensor, ratio: float) -> Tensor:
    """Return the relative gain in perplexity of each run with the longer context, (runs,).

    Args:
        shorter: Bits with the shorter context, (runs, positions).
        longer: Bits with the longer context, (runs, positions), NaN where it was not scored.
        ratio: Share of the scored positions, those with the highest bar.
    """
    is_scored = longer.isfinite().all(0)
    bar = shorter[:, is_scored].amin(0)
    hardest = bar.topk(math.ceil(ratio * len(bar)))
    counted = torch.minimum(longer[:, is_scored][:, hardest.indices], hardest.values)
    return 1 - 2 ** (counted.mean(1) - hardest.values.mean())
