"""Two models on one text, and a text without one of its words, on the page of an inspected run."""

from collections.abc import Sequence
from typing import NamedTuple

from charlm.reporting.formatting import format_signed, pluralize
from charlm.reporting.html.inspect_units import (
    MAX_SHADED_BITS,
    SHADES,
    WIDTH,
    TokenView,
    area,
    glyph,
)
from charlm.reporting.wording.inspection import (
    character_in_context,
    describe_blanked,
    describe_change,
    describe_comparison,
    describe_distance,
    describe_other_training,
    show,
    word_in_context,
)
from charlm.results.inspection import BlankedWord, ModelChange, ModelComparison

MIN_SCALE = 1.0  # bits of the strongest shade of a change, at least
MAX_EXCERPT = 16  # characters of a range that are shown
FULL_DIFFERENCE = 4.0  # bits of the strongest shade of a difference


class PairBlock(NamedTuple):
    """Characters side by side: bits of the first model above, of the second below."""

    tokens: Sequence[TokenView]
    above: str  # path; the height of the row is 1
    below: str


class PairView(NamedTuple):
    """Two models on one text."""

    summary: str
    caution: str
    full_difference: float
    blocks: list[PairBlock]
    words: list[list[str]]  # rows of a table


class ChangeView(NamedTuple):
    """A text without one of its words, to one model."""

    name: str
    summary: str
    tokens: Sequence[TokenView]
    scale: str  # bits of the strongest shade
    characters: list[list[str]]  # rows of a table


class BlankedView(NamedTuple):
    """A text without one of its words."""

    word: str
    how: str
    models: list[ChangeView]
    heads: list[str]  # of the table by distance
    distances: list[list[str]]


def pair_view(comparison: ModelComparison, names: Sequence[str]) -> PairView:
    """Return how two models are shown side by side; names: of the models."""
    pairs = list(zip(comparison.bits, comparison.other_bits, strict=True))
    tokens = [
        TokenView(
            glyph(character),
            difference_class(second - first),
            f"{names[0]} {first:.2f} bits, {names[1]} {second:.2f}",
            character == "\n",
        )
        for character, (first, second) in zip(comparison.characters, pairs, strict=True)
    ]
    blocks = []
    for start in range(0, len(tokens), WIDTH):
        part = slice(start, start + WIDTH)
        above, below = (
            [min(1.0, cost / MAX_SHADED_BITS) for cost in costs[part]]
            for costs in (comparison.bits, comparison.other_bits)
        )
        down = [-height for height in below]
        blocks.append(PairBlock(tokens[part], area(above, 100, 100), area(down, 0, 100)))
    return PairView(
        summary=describe_comparison(comparison, names, "character"),
        caution=describe_other_training(comparison, names[1]),
        full_difference=FULL_DIFFERENCE,
        blocks=blocks,
        words=[
            [
                word_in_context(comparison.characters, word.start, word.word)
                + (" (unknown to one)" if word.is_unknown else ""),
                f"{word.bits:.2f}",
                f"{word.other_bits:.2f}",
                format_signed(word.other_bits - word.bits),
            ]
            for word in comparison.words
        ],
    )


def difference_class(difference: float) -> str:
    """Return the class of a difference: p1 to p10 if the first model is better, else n1 to n10."""
    level = round(SHADES * min(1.0, abs(difference) / FULL_DIFFERENCE))
    return f"{'p' if difference > 0 else 'n'}{level}" if level else ""


def blanked_view(blanked: BlankedWord, names: Sequence[str]) -> BlankedView:
    """Return how a text without one of its words is shown; names: of the models."""
    end = blanked.end
    rows = []
    for number, each in enumerate(blanked.models[0].by_distance):
        parts = [change.by_distance[number] for change in blanked.models]
        first = end + each.first - 1
        text = blanked.characters[first : min(first + MAX_EXCERPT, end + each.last)]
        rows.append(
            [
                describe_distance(each.first, each.last),
                show("".join(text)),
                *(f"{format_signed(part.change)} ± {part.error:.2f}" for part in parts),
            ]
        )
    return BlankedView(
        word=blanked.word,
        how=describe_blanked(blanked),
        models=[
            change_view(change, blanked, name)
            for change, name in zip(blanked.models, names, strict=True)
        ],
        heads=["characters behind it", "beginning with", *names],
        distances=rows,
    )


def change_view(change: ModelChange, blanked: BlankedWord, name: str) -> ChangeView:
    """Return how a text without one of its words is shown to one model, of this name."""
    scale = max([MIN_SCALE, *map(abs, change.changes)])
    tokens = []
    for index, (character, bits) in enumerate(zip(blanked.characters, change.changes, strict=True)):
        level = round(SHADES * abs(bits) / scale)
        shade = f"{'s' if bits > 0 else 'e'}{level}" if level else ""
        note = f"{format_signed(bits)} ± {change.errors[index]:.2f} bits"
        if blanked.start <= index < blanked.end:
            shade, note = "blank", "replaced"
        elif index < blanked.start:
            note = "before the word"
        tokens.append(TokenView(glyph(character), shade, note, character == "\n"))
    return ChangeView(
        name=name,
        summary=describe_change(change, blanked, name),
        tokens=tokens,
        scale=f"{scale:.2g} bits",
        characters=[
            [
                character_in_context(blanked.characters, each.index),
                pluralize(each.index - blanked.end + 1, "character"),
                f"{format_signed(each.change)} ± {each.error:.2f}",
            ]
            for each in change.characters
        ],
    )
