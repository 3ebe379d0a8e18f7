"""Two models on one text, compared character by character."""

import re
from collections.abc import Sequence

import numpy as np

from charlm.data.vocabulary import VocabularyKind
from charlm.inspection.text_choice import display_characters, encode_bytes
from charlm.results.inspection import InspectedModel, ModelComparison, WordDifference
from charlm.runs.run import Run

WORD = re.compile(r"\w+|[^\w\s]|\s+")
MAX_WORDS = 12  # that are listed
MIN_DIFFERENCE = 0.1  # bits of a word that is listed
DECIMALS = 4


def compare_models(
    text: str, model: InspectedModel, other: InspectedModel, has_same_splits: bool
) -> ModelComparison:
    """Return the costs of a text's characters to two models, and the words that differ most.

    Args:
        text: Text that both have read.
        model: The first model on it.
        other: The second.
        has_same_splits: Whether both were trained on the same split of the same text.
    """
    costs = [character_costs(each.bits, text, each.vocabulary_kind) for each in (model, other)]
    bits, other_bits = ([round(cost, DECIMALS) for cost in each] for each in costs)
    unknown = [
        [cost > 0 for cost in character_costs(each.is_unknown, text, each.vocabulary_kind)]
        for each in (model, other)
    ]
    words = []
    for match in WORD.finditer(text):
        place = slice(*match.span())
        words.append(
            WordDifference(
                word="".join(display_characters(match[0])),
                start=match.start(),
                bits=round(sum(bits[place]), DECIMALS),
                other_bits=round(sum(other_bits[place]), DECIMALS),
                is_unknown=any(any(each[place]) for each in unknown),
            )
        )
    words.sort(key=lambda word: -abs(word.bits - word.other_bits))
    return ModelComparison(
        other=other,
        characters=display_characters(text),
        bits=bits,
        other_bits=other_bits,
        words=[
            word for word in words[:MAX_WORDS] if abs(word.bits - word.other_bits) >= MIN_DIFFERENCE
        ],
        has_same_splits=has_same_splits,
    )


def character_costs(costs: Sequence[float], text: str, kind: VocabularyKind | str) -> list[float]:
    """Return the cost of each character, given that of each token; a character's bytes add up."""
    if kind == "chars":
        return [float(cost) for cost in costs]
    lengths = [len(encode_bytes(character)) for character in text]
    starts = np.cumsum([0, *lengths[:-1]])
    sums: list[float] = np.add.reduceat(np.asarray(costs, np.float64), starts).tolist()
    return sums


def has_same_splits(run: Run, other: Run) -> bool:
    """Return whether two runs were trained on the same split of the same text."""
    first, second = run.record, other.record
    return (first.text.digest, first.text.split_by, first.config.split_ratios) == (
        second.text.digest,
        second.text.split_by,
        second.config.split_ratios,
    )
