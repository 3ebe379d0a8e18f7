"""Whether a list of unseen names is known when it comes again: Armeni, Honey & Linzen (2022)."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charlm.cells.base import State
from charlm.data.vocabulary import ids_to_text, vocabulary_mask
from charlm.evaluation import ngram
from charlm.evaluation.streaming import advance, iter_logits
from charlm.probes.base import ProbeContext, ProbeNotApplicable, register_probe
from charlm.probes.effective_context import gather_windows, token_bits
from charlm.results.probes import Curve, ProbeResult, ScalarResult
from charlm.seeding import derive_seed

FILLER_LENGTHS = (16, 64, 256, 1024)  # characters between the two readings
LISTS, NAMES, LETTERS = 64, 5, 6
NUM_LETTERS = 20  # letters that names are made of
PREFIX_LENGTH = 64  # characters of text before the first reading
Names = NDArray[np.int64]


@register_probe("repeat")
@torch.inference_mode()
def verbatim_recall(
    reading: ProbeContext, fillers: Sequence[int] = FILLER_LENGTHS, lists: int = LISTS
) -> ProbeResult:
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
    reader, kind = reading.model, reading.vocabulary.kind
    apart = reading.vocabulary.encode(", ")
    draw = np.random.default_rng(derive_seed(reading.seed, "repeat"))
    if len(reading.train_ids) < (most := max(PREFIX_LENGTH, fillers[-1])):
        raise ProbeNotApplicable(
            f"the training text has {len(reading.train_ids):,} {kind}, and {most:,} are needed"
        )
    if reading.vocabulary.unk_id in apart:
        raise ProbeNotApplicable("the training text has no comma, or no space")
    names = sample_unseen_names(reading, lists * NAMES, draw).reshape(lists, NAMES, LETTERS)
    comma = np.tile(apart, (lists, NAMES, 1))
    # Each name after a comma, (length, lists), and the comma that ends the list.
    text = torch.from_numpy(np.concatenate((comma, names), axis=2).reshape(lists, -1).T)
    end = torch.from_numpy(comma[:, 0].T)

    def costs(state: tuple[State, ...], text: Tensor) -> NDArray[np.float64]:
        """Bits of each name, (lists, names), read on from this state."""
        ((ids, logits),) = iter_logits(reader, [text], state)
        reading.tick(text.numel())
        each = token_bits(logits, ids).T.reshape(lists, NAMES, -1)
        return each[:, :, len(apart) :].sum(2)

    def other(length: int) -> Tensor:
        """Text of elsewhere, (length, lists)."""
        start = draw.integers(len(reading.train_ids) - length + 1, size=lists)
        return gather_windows(reading.train_ids, start, length)

    state = advance(reader, other(PREFIX_LENGTH), reader.initial_state(lists))
    first = costs(state, text)
    state = advance(reader, torch.cat((text, end)), state)
    filler = other(fillers[-1])
    again, first_again, others = [], [], []
    for start, length in zip((0, *fillers[:-1]), fillers, strict=True):
        state = advance(reader, filler[start:length], state)
        reading.tick((length - start) * lists)
        second = costs(state, text)
        again.append(ratio_with_error(second.sum(1), first.sum(1)))
        first_again.append(ratio_with_error(second[:, 0], first[:, 0]))
        unread = np.roll(costs(state, text.roll(1, 1)), -1, 0)  # list i, after list i + 1
        others.append(ratio_with_error(unread.sum(1), first.sum(1)))
    curves = {"the same names": again, "the first of them": first_again, "other names": others}
    return ProbeResult(
        x=f"{kind} of filler",
        y="bits of the second reading over the first",
        chance=1.0,
        curves=[
            Curve(name=name, x=fillers, y=[y for y, _ in points], error=[e for _, e in points])
            for name, points in curves.items()
        ],
        numbers=[
            ScalarResult(
                name=f"second reading after {length:,}",
                value=value,
                unit="of the first",
                low=value - 1.96 * error,
                high=value + 1.96 * error,
            )
            for length, (value, error) in zip(fillers, again, strict=True)
        ],
    )


def sample_unseen_names(reading: ProbeContext, count: int, draw: np.random.Generator) -> Names:
    """So many different names that the end of the training text does not have, (count, LETTERS)."""
    frequency = ngram.token_counts(reading.train_ids, reading.vocabulary.size)
    capitals = most_frequent(frequency * vocabulary_mask(reading.vocabulary, str.isupper))
    letters = most_frequent(
        frequency
        * vocabulary_mask(reading.vocabulary, lambda one: one.isalpha() and not one.isupper())
    )
    if len(letters) < 10:
        raise ProbeNotApplicable(f"the training text has {len(letters)} letters, and 10 are needed")
    there = ids_to_text(reading.train_ids[-ngram.MAX_TRAINING_TOKENS :], reading.vocabulary)
    found: dict[str, Names] = {}
    while len(found) < count:
        first = draw.choice(capitals if len(capitals) else letters, 1)
        name = np.append(first, draw.choice(letters, LETTERS - 1))
        written = ids_to_text(name, reading.vocabulary)
        if written not in there:
            found[written] = name
    return np.stack(list(found.values()))


def most_frequent(frequency: Names) -> Names:
    """The ids of the 20 that are there most often, or of all that are there."""
    there = np.flatnonzero(frequency)
    return there[np.argsort(-frequency[there], kind="stable")[:NUM_LETTERS]]


def ratio_with_error(
    second: NDArray[np.float64], first: NDArray[np.float64]
) -> tuple[float, float]:
    """The sum of the second (lists,) over that of the first, and its standard error."""
    ratio = float(second.sum() / first.sum())
    error = float(np.std(second - ratio * first, ddof=1) / first.mean() / len(first) ** 0.5)
    return ratio, error
