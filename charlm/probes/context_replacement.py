"""Bits lost where other text stands further back than k: Khandelwal et al. (2018), section 5."""

from collections.abc import Sequence

import numpy as np
import torch

from charlm.evaluation.streaming import advance, select_streams
from charlm.probes.base import ProbeContext, ProbeNotApplicable, register_probe
from charlm.probes.effective_context import (
    CONTEXT_LENGTHS,
    MAX_TOKENS_READ,
    POSITIONS,
    effective_context_length,
    evenly_spaced,
    excess_bits,
    gather_windows,
    mean_curve,
    usable_context_lengths,
)
from charlm.results.probes import ProbeResult
from charlm.seeding import derive_seed

NUM_DISTRACTORS, DISTRACTOR_LENGTH = 256, 256  # stretches of other text, and characters of each


@register_probe("replace")
@torch.inference_mode()
def context_replacement(
    reading: ProbeContext,
    ks: Sequence[int] = CONTEXT_LENGTHS,
    places: int = POSITIONS,
    read_at_most: int = MAX_TOKENS_READ,
) -> ProbeResult:
    """What does the model lose when all that stands further back is another text?

    Question: How many bits does it cost when only the last k characters are the true ones, and
    other text stands before them?

    Protocol: Starts are taken evenly from the text, but for its end, as long as the largest k;
    fewer for a large k. At each the model comes from 256 characters of the training text, of 256
    stretches drawn at random, and reads on in the true text. The character after k true ones is
    scored, another one for each k, and compared with itself with full context, in one reading of
    the whole text. The state is one that reading leads to, as a start state is not: so this is the
    fairer ablation. The number is the smallest k asked that costs at most 1 % more than full
    context; its interval holds 95 % of 1,000 draws of 64 stretches of text.

    Unit: Bits lost per character (or byte), by the number of true characters. Error bars are
    standard errors.

    Chance: 0, the line: a model that remembers nothing further back than k loses nothing there.

    Source: Khandelwal, He, Qi & Jurafsky (2018), "Sharp Nearby, Fuzzy Far Away: How Neural Language
    Models Use Context", section 5, who drop or shuffle what is far; replacing it by other text and
    the paired difference are ours.
    """
    kind, other = reading.vocabulary.kind, reading.train_ids
    ks, notes = usable_context_lengths(ks, reading)
    if len(other) < DISTRACTOR_LENGTH:
        raise ProbeNotApplicable(
            f"the training text has {len(other):,} {kind}, and {DISTRACTOR_LENGTH} are needed"
        )
    draw = np.random.default_rng(derive_seed(reading.seed, "replace"))
    start = evenly_spaced(0, len(reading.ids) - ks[-1], places)
    others = gather_windows(
        other,
        draw.integers(len(other) - DISTRACTOR_LENGTH + 1, size=NUM_DISTRACTORS),
        DISTRACTOR_LENGTH,
    )
    states = advance(reading.model, others, reading.model.initial_state(NUM_DISTRACTORS))
    reading.tick(others.numel())
    which = torch.from_numpy(draw.integers(NUM_DISTRACTORS, size=len(start)))
    lost = excess_bits(reading, start, lambda b: select_streams(states, which[b]), ks, read_at_most)
    return ProbeResult(
        x=f"true {kind} before",
        y=f"bits lost per {kind.removesuffix('s')}",
        chance=0.0,
        curves=[mean_curve(ks, lost)],
        numbers=[
            effective_context_length("effective context, the rest replaced", reading, ks, lost)
        ],
        notes=notes,
    )
