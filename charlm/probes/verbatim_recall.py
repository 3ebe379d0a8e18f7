"""Verbatim recall: cost of a list of novel names when it is repeated (Armeni et al., 2022)."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charlm.cells.base import State
from charlm.data.vocabulary import ids_to_text, vocabulary_mask
from charlm.evaluation import ngram
from charlm.evaluation.streaming import advance, iter_logits
from charlm.probes.base import ProbeContext, ProbeNotApplicableError, ProbeOutput, register_probe
from charlm.probes.windows import Bits, gather_windows, token_bits
from charlm.results.probe_limits import NoSeparator, TextTooShort, TooFewLetters
from charlm.results.probes import Curve, ProbeResult, ScalarResult
from charlm.seeding import derive_seed

FILLER_LENGTHS = (16, 64, 256, 1024)  # tokens between the two readings, ascending
NUM_LISTS = 64
NAMES_PER_LIST = 5
NAME_LENGTH = 6  # letters
NUM_LETTERS = 20  # most frequent letters of the training text, which form the names
MIN_LETTERS = 10
PREFIX_LENGTH = 64  # tokens of text before the first reading
Ids = NDArray[np.int64]


@register_probe("verbatim-recall", cost=4)
@torch.inference_mode()
def verbatim_recall(
    context: ProbeContext,
    filler_lengths: Sequence[int] = FILLER_LENGTHS,
    num_lists: int = NUM_LISTS,
) -> ProbeOutput:
    """Can the model repeat what it has read once?

    Question: How much cheaper is a list of novel names when the model reads it again, after other
    text?

    Protocol: A list is five names of six letters, separated by commas. Each letter is one of the 20
    most frequent of the training text, the first one a capital if there are any. No name occurs in
    the training text (in the last 2^24 characters of a long one). The model reads 64 different
    lists, each after 64 characters of the training text from a random position, and again after a
    filler from another position. A comma precedes and follows each list. The letters of the names
    are scored. "Other names" is the control: after the filler the model reads a list that it has
    not read before, which shows the effect of the format alone.

    Unit: Bits of the second reading divided by bits of the first, by the length of the filler in
    characters (or bytes). Error bars are standard errors over lists.

    Chance: The line is 1: the second reading costs as much as the first.

    Source: Armeni, Honey & Linzen (2022), "Characterizing Verbatim Short-Term Memory in Neural
    Language Models", who use lists of nouns. Random names, for models of characters, are an
    addition.
    """
    model, train_ids = context.model, context.train_ids
    separator = context.vocabulary.encode(", ")
    rng = np.random.default_rng(derive_seed(context.seed, "repeat"))
    required = max(PREFIX_LENGTH, filler_lengths[-1])
    if len(train_ids) < required:
        raise ProbeNotApplicableError(TextTooShort("training", len(train_ids), required))
    if context.vocabulary.unk_id in separator:
        raise ProbeNotApplicableError(NoSeparator())
    names = sample_unseen_names(context, num_lists * NAMES_PER_LIST, rng)
    names = names.reshape(num_lists, NAMES_PER_LIST, NAME_LENGTH)
    separators = np.tile(separator, (num_lists, NAMES_PER_LIST, 1))
    # Each name follows a separator: (length, num_lists); then the separator that ends the list.
    lists = torch.from_numpy(np.concatenate((separators, names), axis=2).reshape(num_lists, -1).T)
    list_end = torch.from_numpy(separators[:, 0].T)

    readings = 2 + 2 * len(filler_lengths)  # of a list
    unscored = PREFIX_LENGTH + len(separator) + filler_lengths[-1]
    context.expect(num_lists * (readings * len(lists) + unscored))

    def name_bits(state: tuple[State, ...], text: Tensor) -> Bits:
        """Return the bits of each name, (num_lists, NAMES_PER_LIST), read from this state."""
        ((ids, logits),) = iter_logits(model, [text], state)
        context.tick(text.numel())
        bits = token_bits(logits, ids).T.reshape(num_lists, NAMES_PER_LIST, -1)
        return bits[:, :, len(separator) :].sum(2)

    def random_passages(length: int) -> Tensor:
        """Return passages of the training text, (length, num_lists)."""
        start = rng.integers(len(train_ids) - length + 1, size=num_lists)
        return gather_windows(train_ids, start, length)

    state = advance(model, random_passages(PREFIX_LENGTH), model.initial_state(num_lists))
    first = name_bits(state, lists)
    state = advance(model, torch.cat((lists, list_end)), state)
    context.tick(num_lists * (PREFIX_LENGTH + len(lists) + len(list_end)))
    filler = random_passages(filler_lengths[-1])
    ratios: dict[str, list[tuple[float, float]]] = {
        "same names": [],
        "first of them": [],
        "other names": [],
    }
    for start, length in zip((0, *filler_lengths[:-1]), filler_lengths, strict=True):
        state = advance(model, filler[start:length], state)
        context.tick((length - start) * num_lists)
        second = name_bits(state, lists)
        # List i after list i + 1: each list is compared with its own first reading.
        control = np.roll(name_bits(state, lists.roll(1, 1)), -1, 0)
        ratios["same names"].append(ratio_with_error(second.sum(1), first.sum(1)))
        ratios["first of them"].append(ratio_with_error(second[:, 0], first[:, 0]))
        ratios["other names"].append(ratio_with_error(control.sum(1), first.sum(1)))
    result = ProbeResult(
        x=f"{context.unit}s of filler",
        y="bits of second reading / first",
        chance=1.0,
        curves=[
            Curve(
                name=name,
                x=filler_lengths,
                y=[ratio for ratio, _ in points],
                error=[error for _, error in points],
            )
            for name, points in ratios.items()
        ],
        numbers=[
            ScalarResult(
                name=f"second reading after {length:,}",
                value=ratio,
                unit="of the first",
                low=ratio - 1.96 * error,
                high=ratio + 1.96 * error,
            )
            for length, (ratio, error) in zip(filler_lengths, ratios["same names"], strict=True)
        ],
    )
    return ProbeOutput(result)


def sample_unseen_names(context: ProbeContext, count: int, rng: np.random.Generator) -> Ids:
    """Return different names that do not occur in the training text, (count, NAME_LENGTH).

    Raises:
        ProbeNotApplicableError: The training text has too few letters.
    """
    vocabulary, train_ids = context.vocabulary, context.train_ids
    frequency = ngram.token_counts(train_ids, vocabulary.size)
    is_capital = vocabulary_mask(vocabulary, str.isupper)
    is_letter = vocabulary_mask(vocabulary, str.isalpha)
    capitals = most_frequent(frequency * is_capital)
    letters = most_frequent(frequency * (is_letter & ~is_capital))
    if len(letters) < MIN_LETTERS:
        raise ProbeNotApplicableError(TooFewLetters(len(letters), MIN_LETTERS))
    training_text = ids_to_text(train_ids[-ngram.MAX_TRAINING_TOKENS :], vocabulary)
    names: dict[str, Ids] = {}
    while len(names) < count:
        first = rng.choice(capitals if len(capitals) else letters, 1)
        name = np.append(first, rng.choice(letters, NAME_LENGTH - 1))
        text = ids_to_text(name, vocabulary)
        if text not in training_text:
            names[text] = name
    return np.stack(list(names.values()))


def most_frequent(frequency: Ids) -> Ids:
    """Return the ids of the NUM_LETTERS highest counts, without those of count 0."""
    occurring = np.flatnonzero(frequency)
    return occurring[np.argsort(-frequency[occurring], kind="stable")[:NUM_LETTERS]]


def ratio_with_error(second: Bits, first: Bits) -> tuple[float, float]:
    """Return sum(second) / sum(first) and its standard error over lists; both are (num_lists,)."""
    ratio = float(second.sum() / first.sum())
    error = float(np.std(second - ratio * first, ddof=1) / first.mean() / len(first) ** 0.5)
    return ratio, error
