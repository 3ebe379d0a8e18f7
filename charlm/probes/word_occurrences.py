"""Rare words by occurrence: their cost the first, second and later times that a text has them."""

from dataclasses import dataclass

import numpy as np
import torch
from msgspec import structs

from charlm.data.vocabulary import ids_to_text
from charlm.evaluation import ngram
from charlm.probes.base import ProbeContext, ProbeNotApplicableError, ProbeOutput, register_probe
from charlm.probes.places import continuous_starts
from charlm.probes.rare_words import COUNTED_TOKENS, iter_rare_words
from charlm.probes.true_context import WARMUP
from charlm.probes.unit_sums import UnitSums, sum_by_unit
from charlm.probes.windows import Bits, Positions
from charlm.results.probe_limits import CountedAtEnd, NoRepeatedWords, Note, TextTooShort
from charlm.results.probes import Curve, ProbeResult, ScalarResult

OCCURRENCES = (1, 2, 3, 4)  # the last one stands for all later ones, too
NAMES = {2: "2nd", 3: "3rd", 4: "4th or later"}
BIN_EDGES = (1, 64, 128, 256, 512, 1024, WARMUP)  # of the distance, in tokens
MIN_EVENTS = 30  # words that come again
MIN_LENGTH = 2048  # tokens of the text
NGRAM_ORDER = 6  # tokens


@dataclass(frozen=True)
class Occurrences:
    """Rare words in order of the text; arrays (words,)."""

    start: Positions  # first letter
    size: Positions  # letters
    number: Positions  # 1 for the first occurrence, ..., 4 for the fourth and later ones
    distance: Positions  # tokens between it and the occurrence before; 0 for the first
    first: Positions  # index, among these, of the first occurrence of the same word


@register_probe("word-occurrences", cost=3)
@torch.inference_mode()
def word_occurrences(context: ProbeContext, min_events: int = MIN_EVENTS) -> ProbeOutput:
    """Does a rare word cost less each time that it comes?

    Question: How many bits does a letter of a rare word cost when the word comes the first, second,
    third time, and by the distance to the time before?

    Protocol: A word is a run of at least four letters. A rare one has at most 10 occurrences per
    million characters in the training text (the last 2^22 characters of a long one). Its
    occurrences are numbered within a file, or within the text where it is not cut by files. The
    letters after the first one are scored after at least 2,048 characters of true text, or all that
    there are; a word whose last occurrence begins further back than that is left out. What a later
    occurrence saves is measured against the first one of the same word, so that words that come
    often are not compared with words that come once. The surroundings of a later occurrence may be
    easier, too: an n-gram that sees five characters shows how much that is.

    Unit: Bits per letter after the first. The interval is over the files, groups of lines or blocks
    of the text; errors of the curves are standard errors over the same.

    Chance: What the n-gram saves, which remembers no word: modified Kneser-Ney of order 6, counted
    on the training text (the last 2^22 characters of a long one). A model that does not remember
    the word saves about as much.

    Source: Khandelwal, He, Qi & Jurafsky (2018), "Sharp Nearby, Fuzzy Far Away: How Neural Language
    Models Use Context", section 6; Sun, Krishna, Mattarella-Micke & Iyyer (2021), "Do Long-Range
    Language Models Actually Use Long-Range Context?", who divide tokens by their last occurrence.
    Numbering, the comparison with the same word and the n-gram are additions.
    """
    length, reading = len(context.ids), context.true_context
    if length < MIN_LENGTH:
        raise ProbeNotApplicableError(TextTooShort("probed", length, MIN_LENGTH))
    words = find_occurrences(context)
    again = np.flatnonzero(words.number > 1)
    if len(again) < min_events:
        raise ProbeNotApplicableError(NoRepeatedWords(len(again), min_events, 1, WARMUP))
    context.expect(max(1, reading.tokens_left))
    letters = letter_positions(words)
    if not reading.tokens_left:
        context.tick(1)
    by_model = bits_per_letter(words, reading.bits[letters])
    nats = ngram.token_nll(
        context.train_ids[-COUNTED_TOKENS:],
        context.ids,
        letters,
        context.vocabulary.size,
        NGRAM_ORDER,
    )
    by_ngram = bits_per_letter(words, nats / np.log(2))
    costs, savings = (
        [sum_by_number(context, words, bits, is_saved) for bits in (by_model, by_ngram)]
        for is_saved in (False, True)
    )
    unit = "bits per letter"
    distances = [sum_by_distance(context, words, bits) for bits in (by_model, by_ngram)]
    notes: list[Note] = []
    if len(context.train_ids) > COUNTED_TOKENS:
        notes += [CountedAtEnd("words", COUNTED_TOKENS), CountedAtEnd("n-grams", COUNTED_TOKENS)]
    own, baseline = savings
    result = ProbeResult(
        title="by occurrence",
        x="occurrence of the word",
        y=unit,
        log_x=False,
        curves=named_curves(costs),
        panels=[
            ProbeResult(
                title="saved since the first occurrence",
                x=f"{context.unit}s since the word was read",
                y=f"{unit} saved",
                curves=named_curves(distances),
            )
        ],
        numbers=[
            costs[0].number(0, "cost of a first occurrence", unit),
            *(
                saving_number(own, baseline, row, unit)
                for row, number in enumerate(OCCURRENCES)
                if number > 1 and own.counts[row].any()
            ),
        ],
        notes=notes,
    )
    return ProbeOutput(result, own.artifacts())


def find_occurrences(context: ProbeContext) -> Occurrences:
    """Find the rare words of the text, and number the occurrences of each within a file."""
    text = ids_to_text(context.ids, context.vocabulary)
    begins = continuous_starts(context)
    earlier: dict[tuple[str, int], tuple[int, int, int]] = {}  # number, start, index of the first
    found: list[tuple[int, int, int, int, int]] = []
    for word, start in iter_rare_words(context, text):
        key = word, int(begins[start])
        number, last, first = earlier.get(key, (0, start, len(found)))
        earlier[key] = number + 1, start, first
        if start - last > WARMUP:
            continue
        distance = start - last - len(word) if number else 0
        found.append((start, len(word), min(number + 1, OCCURRENCES[-1]), distance, first))
    return Occurrences(*np.array(found, np.int64).reshape(-1, 5).T)


def letter_positions(words: Occurrences) -> Positions:
    """Return the positions of all letters after the first one, word by word, (letters,)."""
    pairs = zip(words.start, words.size, strict=True)
    return np.concatenate([start + np.arange(1, size) for start, size in pairs])


def bits_per_letter(words: Occurrences, bits: Bits) -> Bits:
    """Return the mean of the bits of each word's letters, (words,); bits: as `letter_positions`."""
    counts = words.size - 1
    sums: Bits = np.add.reduceat(bits, np.cumsum(counts) - counts)
    return sums / counts


def sum_by_number(
    context: ProbeContext, words: Occurrences, bits: Bits, is_saved: bool
) -> UnitSums:
    """Return sums of the cost of words by their number and the unit of the text.

    Args:
        context: Supplies the units.
        words: The words.
        bits: Cost of each, (words,).
        is_saved: Whether to sum what each costs less than the first occurrence of the same word.
    """
    values = bits[words.first] - bits if is_saved else bits
    rows = [np.flatnonzero(words.number == number) for number in OCCURRENCES]
    starts = [words.start[row] for row in rows]
    return sum_by_unit(context, OCCURRENCES, starts, [values[row] for row in rows])


def sum_by_distance(context: ProbeContext, words: Occurrences, bits: Bits) -> UnitSums:
    """Return sums of what later occurrences save, by bin of distances and unit of the text.

    A bin has the name of its end.
    """
    saved = bits[words.first] - bits
    bins = np.digitize(words.distance, BIN_EDGES)
    rows = [np.flatnonzero((words.number > 1) & (bins == n)) for n in range(1, len(BIN_EDGES))]
    starts = [words.start[row] for row in rows]
    return sum_by_unit(context, BIN_EDGES[1:], starts, [saved[row] for row in rows])


def saving_number(own: UnitSums, baseline: UnitSums, row: int, unit: str) -> ScalarResult:
    """Return what a later occurrence saves, beside what the n-gram saves there."""
    number = own.number(row, f"saved at the {NAMES[own.lengths[row]]}", unit)
    return structs.replace(number, base_rate=float(baseline.mean[row]))


def named_curves(by_model_and_ngram: list[UnitSums]) -> list[Curve]:
    """Return the curve of the model, without a name, and that of the n-gram."""
    curves = [sums.curve() for sums in by_model_and_ngram]
    return [curves[0], structs.replace(curves[1], name="n-gram")]
