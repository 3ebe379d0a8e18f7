"""Classes of characters, and the costs of a text summed over them."""

import unicodedata
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charlm.evaluation.blocks import Numbers
from charlm.evaluation.characters import CharacterBits, code_points
from charlm.results.costs import ClassCost, CostsByClass

# Every character is in exactly one class.
CLASSES = (
    *("letters at word starts", "letters inside words", "upper case", "digits"),
    *("whitespace", "line ends", "brackets", "punctuation", "non-ASCII"),
)
WORD_START, WORD_INSIDE, UPPER, DIGIT, WHITESPACE, LINE_END, BRACKET, PUNCTUATION, NON_ASCII = (
    range(len(CLASSES))
)
LAST_POSITION = 8  # in a word; later ones are counted together
WORD_POSITIONS = tuple(f"letter {place}" for place in range(1, LAST_POSITION)) + (
    f"letter {LAST_POSITION} and later",
)
Indices = NDArray[np.int64]


class Classified(NamedTuple):
    """Classes of consecutive characters.

    Attributes:
        classes: Index into `CLASSES` of each character.
        places: Place in its word of each letter, from 1; 0 for other characters.
    """

    classes: Indices
    places: Indices


class CharacterClassifier:
    """Classifier of the characters of a text, which comes in pieces.

    A word is a run of letters, of any script, with the marks on them. "Non-ASCII" is what is
    neither a letter, a digit nor white space and not ASCII. "Punctuation" is all other ASCII.
    """

    def __init__(self) -> None:
        """Begin a text."""
        self._run = 0  # letters at the end of what was read

    def classify(self, text: str) -> Classified:
        """Return the classes of the next characters of the text."""
        if not text:
            return Classified(np.zeros(0, np.int64), np.zeros(0, np.int64))
        unique, inverse = np.unique(code_points(text), return_inverse=True)
        kinds = np.array([character_class(chr(point)) for point in unique])[inverse]
        is_letter = np.array([_is_letter(chr(point)) for point in unique])[inverse]
        index = np.arange(len(text))
        last_other = np.maximum.accumulate(np.where(is_letter, -1, index))
        places = index - last_other
        places[last_other < 0] += self._run
        places[~is_letter] = 0
        self._run = int(places[-1])
        classes = np.where((kinds == WORD_INSIDE) & (places == 1), WORD_START, kinds)
        return Classified(classes, places)


class ClassSums:
    """Bits and characters of each class, and of each place in a word."""

    def __init__(self) -> None:
        """Begin a text."""
        self._classifier = CharacterClassifier()
        self._bits, self._counts = np.zeros(len(CLASSES)), np.zeros(len(CLASSES), np.int64)
        places = LAST_POSITION + 1
        self._place_bits, self._place_counts = np.zeros(places), np.zeros(places, np.int64)

    def add(self, characters: CharacterBits) -> None:
        """Add the next characters of the text."""
        classes, places = self._classifier.classify(characters.text)
        places = np.minimum(places, LAST_POSITION)
        for indices, bits, counts in (
            (classes, self._bits, self._counts),
            (places, self._place_bits, self._place_counts),
        ):
            bits += np.bincount(indices, characters.bits, len(bits))
            counts += np.bincount(indices, minlength=len(counts))

    def result(self) -> CostsByClass:
        """Return the costs of all characters so far."""
        total = float(self._bits.sum()), int(self._counts.sum())
        return CostsByClass(
            classes=_class_costs(CLASSES, self._bits, self._counts, total),
            word_positions=_class_costs(
                WORD_POSITIONS, self._place_bits[1:], self._place_counts[1:], total
            ),
        )


def character_class(character: str) -> int:
    """Return the index of a character's class; every letter that is not upper case is inside."""
    if character in "\n\r":
        return LINE_END
    if character.isspace():
        return WHITESPACE
    if character.isdecimal():
        return DIGIT
    if _is_letter(character):
        return UPPER if character.isupper() or character.istitle() else WORD_INSIDE
    if ord(character) >= 0x80:
        return NON_ASCII
    return BRACKET if character in "()[]{}" else PUNCTUATION


def _is_letter(character: str) -> bool:
    return character.isalpha() or unicodedata.category(character).startswith("M")


def _class_costs(
    names: tuple[str, ...], bits: Numbers, counts: Indices, total: tuple[float, int]
) -> tuple[ClassCost, ...]:
    return tuple(
        ClassCost(
            name=name,
            characters=int(count),
            bits=float(cost),
            bits_per_char=float(cost / count) if count else None,
            share_of_characters=float(count / total[1]) if total[1] else 0.0,
            share_of_bits=float(cost / total[0]) if total[0] else 0.0,
        )
        for name, cost, count in zip(names, bits, counts, strict=True)
    )
