"""Markdown of text and tables: foreign text can become neither HTML nor a link of Markdown.

A site may still link a URL or a name after @ that stands in plain text.
"""

import re
from collections.abc import Sequence
from textwrap import wrap

from rich.cells import cell_len

from charlm.console import escape_control_characters
from charlm.reporting.tables.table import Table

WIDTH = 80  # columns of a paragraph
SPECIAL = re.compile(r"[\\`*|~<>&]|\](?=[(\[:])|(?<![^\W_])_|_(?![^\W_])")
BLOCK_START = re.compile(r"^([-+#=:])")  # of a line, which Markdown may read as a block


def escape_markdown(text: str) -> str:
    """Return Markdown that shows this text."""
    return SPECIAL.sub(_escape_match, escape_control_characters(text))


def _escape_match(match: re.Match[str]) -> str:
    entities = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
    return entities.get(match[0], f"\\{match[0]}")


def paragraph(text: str, width: int = WIDTH - 1) -> str:
    """Return a paragraph of escaped text in lines of this many columns."""
    lines = wrap_plain(escape_markdown(text), width).split("\n")
    return "\n".join(BLOCK_START.sub(r"\\\1", line) for line in lines)


def wrap_plain(text: str, width: int = WIDTH) -> str:
    """Return a text in lines of this many columns; no word is broken."""
    shown = escape_control_characters(text)
    return "\n".join(wrap(shown, width, break_long_words=False, break_on_hyphens=False))


def render_markdown(answer: str, tables: Sequence[Table]) -> str:
    """Return the answer of a comparison and all tables as Markdown."""
    parts = [paragraph(answer)]
    for table in tables:
        for group in table.groups:
            if group.title:
                parts.append(f"**{paragraph(group.title, WIDTH - 4)}**")
            parts.append(_render_rows(table, group.rows))
        parts.append(paragraph(table.caption))
    return "\n\n".join(parts) + "\n"


def _render_rows(table: Table, rows: Sequence[Sequence[str]]) -> str:
    """Return the rows with the heads of their table, in aligned columns."""
    cells = [list(map(escape_markdown, row)) for row in (table.heads, *rows)]
    widths = [max(3, *map(cell_len, column)) for column in zip(*cells, strict=True)]
    is_text = [number in table.text_columns for number in range(len(widths))]
    rule = [
        "-" * width if left else "-" * (width - 1) + ":"
        for width, left in zip(widths, is_text, strict=True)
    ]
    lines = [_line(row, widths, is_text) for row in (cells[0], rule, *cells[1:])]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int], is_text: Sequence[bool]) -> str:
    padded = []
    for cell, width, left in zip(cells, widths, is_text, strict=True):
        space = " " * (width - cell_len(cell))
        padded.append(cell + space if left else space + cell)
    return f"| {' | '.join(padded)} |"
