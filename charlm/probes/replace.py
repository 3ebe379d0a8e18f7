"""Bits lost where other text stands further back than k: Khandelwal et al. (2018), section 5."""

from collections.abc import Sequence

import numpy as np
import torch

from charlm.config import stream
from charlm.probe import Found, NotMeasurable, Reading, probe
from charlm.reach import (
    KS,
    PLACES,
    READ,
    curve,
    evenly,
    long_enough,
    lost_from,
    reach,
    side_by_side,
)
from charlm.reader import picked, read

OTHERS, LENGTH = 256, 256  # stretches of other text, and characters of each


@probe("replace")
@torch.inference_mode()
def replace(
    reading: Reading, ks: Sequence[int] = KS, places: int = PLACES, read_at_most: int = READ
) -> Found:
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
    kind, other = reading.alphabet.kind, reading.elsewhere
    ks, notes = long_enough(ks, reading)
    if len(other) < LENGTH:
        raise NotMeasurable(f"the training text has {len(other):,} {kind}, and {LENGTH} are needed")
    draw = np.random.default_rng(stream(reading.seed, "replace"))
    start = evenly(0, len(reading.ids) - ks[-1], places)
    others = side_by_side(other, draw.integers(len(other) - LENGTH + 1, size=OTHERS), LENGTH)
    states = read(reading.reader, others, reading.reader.start(OTHERS))
    reading.tick(others.numel())
    which = torch.from_numpy(draw.integers(OTHERS, size=len(start)))
    lost = lost_from(reading, start, lambda b: picked(states, which[b]), ks, read_at_most)
    return Found(
        x=f"true {kind} before",
        y=f"bits lost per {kind.removesuffix('s')}",
        chance=0.0,
        curves=[curve(ks, lost)],
        numbers=[reach("effective context, the rest replaced", reading, ks, lost)],
        notes=notes,
    )
