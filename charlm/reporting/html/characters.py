"""Page of a scored text: each character coloured by its bits."""

from typing import NamedTuple

from charlm.console import escape_control_characters
from charlm.errors import DataError
from charlm.reporting.formatting import VISIBLE_SPACE, format_fixed
from charlm.reporting.html.page import render_template
from charlm.reporting.wording.costs import COST_HEADS, cost_rows
from charlm.results.costs import CharacterRecord
from charlm.results.run import EvaluationReport

MAX_CHARACTERS = 50_000  # of a page: it has about 5 MB then
SHADES = 10
MAX_SHADED_BITS = 8.0  # bits from which on the shade is the strongest
GLYPHS = {**VISIBLE_SPACE, " ": " "}
GLYPHS |= {space: VISIBLE_SPACE[space] + space for space in "\n\t"}  # which still move on
SPOKEN = {" ": "space", "\n": "line end", "\t": "tab"}


class CharacterView(NamedTuple):
    """A character as it is shown."""

    glyph: str
    shade: str  # class of the page's style
    title: str


class PageRecords:
    """Records of the characters of a page."""

    def __init__(self, page: str) -> None:
        """Begin a page of this name."""
        self.page = page
        self.records: list[CharacterRecord] = []

    def add(self, records: list[CharacterRecord]) -> None:
        """Append records."""
        self.records += records

    def check_length(self, characters: int) -> None:
        """Check that a text has room on the page.

        Raises:
            DataError: It has too many characters.
        """
        if characters > MAX_CHARACTERS:
            raise DataError(
                f"cannot write {self.page}: a page has room for {MAX_CHARACTERS:,} characters, and "
                "the text has more. Try a shorter text, or a .jsonl file"
            )


def render_characters(
    report: EvaluationReport, records: list[CharacterRecord], run: str, text: str | None
) -> bytes:
    """Return the page of `charlm eval --per-char`.

    Args:
        report: Score of the text, with its costs by class.
        records: All characters of the text.
        run: Name of the run.
        text: Name of the text; None for a split.
    """
    is_bytes = report.tokens != report.characters
    return render_template(
        "characters.html",
        report=report,
        run=run,
        text=text or f"the {report.split} split",
        noun="byte" if is_bytes else "character",
        bits=format_fixed(report.bits_per_byte if is_bytes else report.bits_per_char),
        characters=[character_view(record) for record in records],
        files=len({record.file for record in records}),
        has_unknown=report.unknown_tokens > 0,
        shades=SHADES,
        ramp=[f"s{shade}" for shade in range(SHADES + 1)],
        max_shaded_bits=MAX_SHADED_BITS,
        heads=COST_HEADS,
        classes=cost_rows(report.by_class.classes) if report.by_class else [],
        word_positions=cost_rows(report.by_class.word_positions) if report.by_class else [],
    )


def character_view(record: CharacterRecord) -> CharacterView:
    """Return how a character is shown."""
    shade = f"s{round(SHADES * min(1.0, record.bits / MAX_SHADED_BITS))}"
    title = f"{record.bits:.2f} bits, rank {record.rank}, entropy {record.entropy:.2f}"
    if record.rank > 1:
        title += f", expected {spoken(record.likeliest)}"
    if record.is_unknown:
        shade += " unknown"
        title += ", not in the vocabulary"
    return CharacterView(glyph(record.character), shade, title)


def glyph(character: str) -> str:
    """Return a character as it is shown on a page, with line ends and tabs visible."""
    return GLYPHS.get(character) or escape_control_characters(character)


def spoken(character: str | None) -> str:
    """Return a character as it is named in a title."""
    if character is None:
        return "an unknown character"
    return SPOKEN.get(character) or escape_control_characters(character)
