"""Bits lost where the words further back than k are in disorder: Khandelwal et al. (2018)."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from charlm.alphabet import Ids
from charlm.cell import State
from charlm.characters import which
from charlm.config import stream
from charlm.probe import Found, NotMeasurable, Reading, probe
from charlm.reach import KS, READ, Places, curve, evenly, long_enough, lost_from, reach
from charlm.reader import read

HORIZON = 512  # characters in disorder
PLACES = 2048
LEAST = 200  # places that a mean must be of


@probe("shuffle")
@torch.inference_mode()
def shuffle(
    reading: Reading, ks: Sequence[int] = KS, places: int = PLACES, read_at_most: int = READ
) -> Found:
    """Of what stands further back, does the model know the order, or only which words there were?

    Question: How many bits does it cost when only the last k characters are in their true order,
    and the words before them in a random one?

    Protocol: Starts are taken evenly from the text, but for its first 512 characters and its end,
    as long as the largest k; fewer for a large k. At each the model comes from one reading of all
    that is further back than 512 characters, reads the words of these 512 in random order (a word
    ends after its white space; the first and the last may be cut), and reads on in the true text.
    Starts without two words there are left out. The character after k true ones is scored, another
    one for each k, and compared with itself with full context. The number is the smallest k asked
    that costs at most 1 % more than full context; its interval holds 95 % of 1,000 draws of 64
    stretches of text.

    Unit: Bits lost per character (or byte), by the number of characters in true order. Error bars
    are standard errors.

    Chance: 0, the line: a model that does not use the order of what is further back than k loses
    nothing there.

    Source: Khandelwal, He, Qi & Jurafsky (2018), "Sharp Nearby, Fuzzy Far Away: How Neural Language
    Models Use Context", section 5; the horizon in characters and the paired difference are ours.
    """
    kind, ids = reading.alphabet.kind, reading.ids
    ks, notes = long_enough(ks, reading, before=HORIZON)
    blank = which(reading.alphabet, str.isspace)
    draw = np.random.default_rng(stream(reading.seed, "shuffle"))
    every = evenly(HORIZON, len(ids) - ks[-1], places)
    begun = np.append(0, np.cumsum(begins(ids, blank)))  # words, before each place
    start = every[begun[every] > begun[every - HORIZON + 1]]
    if len(start) < min(LEAST, len(every)):
        raise NotMeasurable(
            f"before {len(start):,} of {len(every):,} places there are two words in {HORIZON} "
            f"{kind}, and {min(LEAST, len(every)):,} are needed"
        )
    if len(start) < len(every):
        notes.append(
            f"{len(every) - len(start):,} of {len(every):,} places are left out: the {HORIZON} "
            f"{kind} before have not two words"
        )
    carried = Carried(reading)

    def before(batch: slice) -> tuple[State, ...]:
        """Of these places, after their words in disorder."""
        states = carried.at(start[batch] - HORIZON)
        words = [disordered(ids[at - HORIZON : at], blank, draw) for at in start[batch]]
        reading.tick(HORIZON * len(words))
        return read(reading.reader, torch.from_numpy(np.stack(words, axis=1)), states)

    lost = lost_from(reading, start, before, ks, read_at_most)
    return Found(
        x=f"{kind} in true order before",
        y=f"bits lost per {kind.removesuffix('s')}",
        chance=0.0,
        curves=[curve(ks, lost)],
        numbers=[reach("effective context, the rest in disorder", reading, ks, lost)],
        notes=notes,
    )


class Carried:
    """One reading of the text that stops where it is told."""

    def __init__(self, reading: Reading) -> None:
        self.reading, self.done = reading, 0
        self.state = reading.reader.start(1)

    def at(self, places: Places) -> tuple[State, ...]:
        """The states before these places, which come in the order of the text, as one batch."""
        found = []
        for place in places.tolist():
            text = torch.from_numpy(self.reading.ids[self.done : place].astype(np.int64))
            self.state = read(self.reading.reader, text[:, None], self.state)
            self.reading.tick(place - self.done)
            self.done = place
            found.append(self.state)
        layers = zip(*found, strict=True)
        return tuple(tuple(map(torch.cat, zip(*layer, strict=True))) for layer in layers)


def begins(text: Ids, blank: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where a word begins after the white space of another."""
    space = blank[text]
    return np.append(False, space[:-1] & ~space[1:])


def disordered(text: Ids, blank: NDArray[np.bool_], draw: np.random.Generator) -> Ids:
    """The words of a text, each with its white space, in random order."""
    words = np.split(text.astype(np.int64), np.flatnonzero(begins(text, blank)))
    return np.concatenate([words[place] for place in draw.permutation(len(words))])
