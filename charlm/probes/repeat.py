"""Whether a list of unseen names is known when it comes again: Armeni, Honey & Linzen (2022)."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charlm import ngram
from charlm.cell import State
from charlm.characters import characters, which
from charlm.config import stream
from charlm.probe import Curve, Found, NotMeasurable, Number, Reading, probe
from charlm.reach import bits, side_by_side
from charlm.reader import expected, read

FILLERS = (16, 64, 256, 1024)  # characters between the two readings
LISTS, NAMES, LETTERS = 64, 5, 6
COMMONEST = 20  # letters that names are made of
BEFORE = 64  # characters of text before the first reading
Names = NDArray[np.int64]


@probe("repeat")
@torch.inference_mode()
def repeat(reading: Reading, fillers: Sequence[int] = FILLERS, lists: int = LISTS) -> Found:
    """Can the model repeat what it has read once?

    Question: By how much is a list of names that no one has ever seen cheaper when it is read
    again, after other text?

    Protocol: A list is five names of six letters with commas between; each letter is one of the 20
    that are commonest in the training text, the first one of its capitals if it has any, and no
    name occurs there (of a long one: in its last 2^24 characters). 64 different lists are read,
    each after 64 characters of the training text from a random place, and again after a filler of
    so many characters from another; a comma stands before and after each list. Scored are the
    letters of the names. "Other names" is the control: after the filler comes a list that was not
    read, and shows what the form alone is worth.

    Unit: Bits of the second reading over bits of the first, by the length of the filler in
    characters (or bytes). Error bars are standard errors over lists.

    Chance: 1, the line: the second reading costs what the first did.

    Source: Armeni, Honey & Linzen (2022), "Characterizing Verbatim Short-Term Memory in Neural
    Language Models", whose items are nouns; random names, for characters, are ours.
    """
    reader, kind = reading.reader, reading.alphabet.kind
    apart = reading.alphabet.encode(", ")
    draw = np.random.default_rng(stream(reading.seed, "repeat"))
    if len(reading.elsewhere) < (most := max(BEFORE, fillers[-1])):
        raise NotMeasurable(
            f"the training text has {len(reading.elsewhere):,} {kind}, and {most:,} are needed"
        )
    if reading.alphabet.escape in apart:
        raise NotMeasurable("the training text has no comma, or no space")
    names = unseen(reading, lists * NAMES, draw).reshape(lists, NAMES, LETTERS)
    comma = np.tile(apart, (lists, NAMES, 1))
    # Each name after a comma, (length, lists), and the comma that ends the list.
    text = torch.from_numpy(np.concatenate((comma, names), axis=2).reshape(lists, -1).T)
    end = torch.from_numpy(comma[:, 0].T)

    def costs(state: tuple[State, ...], text: Tensor) -> NDArray[np.float64]:
        """Bits of each name, (lists, names), read on from this state."""
        ((ids, logits),) = expected(reader, [text], state)
        reading.tick(text.numel())
        each = bits(logits, ids).T.reshape(lists, NAMES, -1)
        return each[:, :, len(apart) :].sum(2)

    def other(length: int) -> Tensor:
        """Text of elsewhere, (length, lists)."""
        start = draw.integers(len(reading.elsewhere) - length + 1, size=lists)
        return side_by_side(reading.elsewhere, start, length)

    state = read(reader, other(BEFORE), reader.start(lists))
    first = costs(state, text)
    state = read(reader, torch.cat((text, end)), state)
    filler = other(fillers[-1])
    again, first_again, others = [], [], []
    for start, length in zip((0, *fillers[:-1]), fillers, strict=True):
        state = read(reader, filler[start:length], state)
        reading.tick((length - start) * lists)
        second = costs(state, text)
        again.append(share(second.sum(1), first.sum(1)))
        first_again.append(share(second[:, 0], first[:, 0]))
        unread = np.roll(costs(state, text.roll(1, 1)), -1, 0)  # list i, after list i + 1
        others.append(share(unread.sum(1), first.sum(1)))
    curves = {"the same names": again, "the first of them": first_again, "other names": others}
    return Found(
        x=f"{kind} of filler",
        y="bits of the second reading over the first",
        chance=1.0,
        curves=[
            Curve(name=name, x=fillers, y=[y for y, _ in points], error=[e for _, e in points])
            for name, points in curves.items()
        ],
        numbers=[
            Number(
                name=f"second reading after {length:,}",
                value=value,
                unit="of the first",
                low=value - 1.96 * error,
                high=value + 1.96 * error,
            )
            for length, (value, error) in zip(fillers, again, strict=True)
        ],
    )


def unseen(reading: Reading, count: int, draw: np.random.Generator) -> Names:
    """So many different names that the end of the training text does not have, (count, LETTERS)."""
    frequency = ngram.frequency(reading.elsewhere, reading.alphabet.size)
    capitals = commonest(frequency * which(reading.alphabet, str.isupper))
    letters = commonest(
        frequency * which(reading.alphabet, lambda one: one.isalpha() and not one.isupper())
    )
    if len(letters) < 10:
        raise NotMeasurable(f"the training text has {len(letters)} letters, and 10 are needed")
    there = characters(reading.elsewhere[-ngram.COUNTED :], reading.alphabet)
    found: dict[str, Names] = {}
    while len(found) < count:
        first = draw.choice(capitals if len(capitals) else letters, 1)
        name = np.append(first, draw.choice(letters, LETTERS - 1))
        written = characters(name, reading.alphabet)
        if written not in there:
            found[written] = name
    return np.stack(list(found.values()))


def commonest(frequency: Names) -> Names:
    """The ids of the 20 that are there most often, or of all that are there."""
    there = np.flatnonzero(frequency)
    return there[np.argsort(-frequency[there], kind="stable")[:COMMONEST]]


def share(second: NDArray[np.float64], first: NDArray[np.float64]) -> tuple[float, float]:
    """The sum of the second (lists,) over that of the first, and its standard error."""
    ratio = float(second.sum() / first.sum())
    error = float(np.std(second - ratio * first, ddof=1) / first.mean() / len(first) ** 0.5)
    return ratio, error
