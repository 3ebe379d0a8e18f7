"""Page of the difference of two runs: a text coloured by which run predicts it better."""

from typing import NamedTuple

from charlm.cells.names import cell_label
from charlm.reporting.html.characters import CharacterView, glyph
from charlm.reporting.html.page import render_template
from charlm.reporting.wording.difference import (
    describe_difference,
    describe_passage,
    describe_scope,
    difference_heads,
    difference_rows,
    side_names,
    signed,
)
from charlm.results.difference import CharacterDifference, PassageDifference, RunDifference

MAX_CHARACTERS = 20_000  # of the beginning of the text that a page shows
SHADES = 10
MAX_SHADED_BITS = 4.0  # difference from which on the shade is the strongest
BAR_WIDTH, BAR_HEIGHT = 12, 60  # of the figure, per part and each way


class PassageView(NamedTuple):
    """A passage as it is shown."""

    title: str
    before: str
    characters: list[CharacterView]
    after: str


class Bar(NamedTuple):
    """The difference on a part of the text, in pixels from the top of the figure."""

    x: int
    y: float
    height: float
    is_positive: bool
    title: str


def render_difference(report: RunDifference, beginning: list[CharacterDifference]) -> bytes:
    """Return the page of `charlm diff`.

    Args:
        report: Difference of the runs.
        beginning: Beginning of the text.
    """
    a, b = side_names(report)
    return render_template(
        "difference.html",
        report=report,
        a=a,
        b=b,
        sides=[
            (name, cell_label(side.cell), side.vocabulary_kind, f"{side.bits_per_char:.4f}")
            for name, side in ((a, report.a), (b, report.b))
        ],
        text=f"the {report.split} split" if report.split else "the text",
        lead=describe_difference(report),
        scope=describe_scope(report),
        tables=[
            (title, difference_heads(report, head), difference_rows(groups))
            for title, head, groups in (
                ("By class of character", "class", report.by_class),
                ("By place in the word", "place", report.by_word_position),
                ("By distance to the same word before", "word read before", report.by_distance),
            )
        ],
        passages=[
            (f"{name} loses most", [passage_view(passage, a, b) for passage in passages])
            for name, passages in ((a, report.a_loses), (b, report.b_loses))
            if passages
        ],
        beginning=[character_view(item, a, b) for item in beginning],
        is_cut=len(beginning) < report.characters,
        shades=SHADES,
        ramp=[f"n{n}" for n in range(SHADES, 0, -1)] + [f"p{n}" for n in range(SHADES + 1)],
        max_shaded_bits=MAX_SHADED_BITS,
        bars=bars(report),
        figure=(len(report.parts) * BAR_WIDTH, 2 * BAR_HEIGHT),
        largest=max((abs(part.difference) for part in report.parts), default=0.0),
    )


def bars(report: RunDifference) -> list[Bar]:
    """Return the bars of the difference along the text."""
    largest = max((abs(part.difference) for part in report.parts), default=0.0) or 1.0
    return [
        Bar(
            x=index * BAR_WIDTH,
            y=BAR_HEIGHT - max(0.0, part.difference) / largest * BAR_HEIGHT,
            height=abs(part.difference) / largest * BAR_HEIGHT,
            is_positive=part.difference > 0,
            title=f"from character {part.start:,}: {signed(part.difference)} bits per character",
        )
        for index, part in enumerate(report.parts)
    ]


def passage_view(passage: PassageDifference, a: str, b: str) -> PassageView:
    """Return how a passage is shown."""
    return PassageView(
        describe_passage(passage),
        "".join(map(glyph, passage.before)),
        [character_view(item, a, b) for item in passage.characters],
        "".join(map(glyph, passage.after)),
    )


def character_view(item: CharacterDifference, a: str, b: str) -> CharacterView:
    """Return how a character is shown, given the names of the runs."""
    difference = item.bits_a - item.bits_b
    level = round(SHADES * min(1.0, abs(difference) / MAX_SHADED_BITS))
    shade = f"n{level}" if difference < 0 and level else f"p{level}"
    title = f"{a} {item.bits_a:.2f}, {b} {item.bits_b:.2f} bits"
    return CharacterView(glyph(item.character), shade, title)
