"""Tables and fields that several commands print."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from charlm.console import (
    escape_control_characters,
    fold,
    print_message,
    print_result,
    terminal_columns,
)
from charlm.reporting.formatting import format_count
from charlm.reporting.wording.matching import describe_matching, format_planned_error
from charlm.reporting.wording.text import token_noun
from charlm.reporting.wording.verdicts import describe_insufficient_data
from charlm.results.comparison_plan import Matching, PlannedEntry
from charlm.results.text import CorpusRecord
from charlm.results.verdicts import InsufficientData

WIDE = 100  # columns of a table that does not go to a terminal
NARROW = 80  # columns of the text below it


def print_fields(pairs: Sequence[tuple[str, str]]) -> None:
    """Print a name and its value per line on stderr."""
    for name, text in pairs:
        print_message(f"{name:<11} {text}", indent=12)


def print_paragraphs(paragraphs: Iterable[str]) -> None:
    """Print each text on stdout, in lines that are short enough to be read."""
    lines = [line for text in paragraphs for line in fold(" ".join(text.split()), text_width())]
    print_result("\n".join(lines))


def make_table(heads: Sequence[str] = (), left: Sequence[str] = ()) -> Table:
    """Return an empty table; columns are right-aligned except for those named in `left`."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    for head in heads:
        table.add_column(head, justify="left" if head in left else "right")
    return table


def add_row(table: Table, cells: Iterable[str]) -> None:
    """Add a row of literal text; on a terminal, long paths are folded between their parts."""
    widest = terminal_columns(sys.stdout) // 3
    texts = [escape_control_characters(cell) for cell in cells]
    table.add_row(*(Text("\n".join([t] if " " in t else fold(t, widest))) for t in texts))


def table_of(rows: Sequence[Mapping[str, str]], left: Sequence[str]) -> Table:
    """Return a table of rows that map column heads to text."""
    table = make_table(list(rows[0]), left)
    for row in rows:
        add_row(table, row.values())
    return table


def terminal_width() -> int:
    """Return the columns of the terminal that stdout goes to, or of a file."""
    return terminal_columns(sys.stdout) or WIDE


def line_width() -> int:
    """Return the columns of the terminal that stdout goes to, or of text in a file."""
    return terminal_columns(sys.stdout) or NARROW


def text_width() -> int:
    """Return the columns of text on stdout."""
    return min(NARROW, terminal_width())


def print_table(table: Table, max_width: int = sys.maxsize) -> None:
    """Print a table on stdout without colors, as wide as the terminal.

    On a terminal where words or numbers would have to be broken, rows are blocks of lines.

    Args:
        table: Rows and columns.
        max_width: Columns beyond which text is wrapped, also where there is no terminal.
    """
    width = min(max_width, terminal_width())
    console = Console(width=width, color_system=None, highlight=False)
    words = {word for column in table.columns for word in _words(column)}
    if terminal_columns(sys.stdout):
        for column in table.columns:
            column.min_width = max(map(cell_len, _words(column)), default=0)
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    if terminal_columns(sys.stdout) and not words <= {*" ".join(lines).split()}:
        _print_blocks(table)
    else:
        print_result("\n".join(line for line in lines if line))


def _words(column: Column) -> list[str]:
    return " ".join(map(str, [column.header, *column.cells])).split()


def _print_blocks(table: Table) -> None:
    """Print a line per cell with the head of its column, and an empty line between rows."""
    heads = [str(column.header) for column in table.columns]
    indent = max(map(len, heads)) + 1
    rows = zip(*(column.cells for column in table.columns), strict=True)
    blocks = []
    for row in rows:
        cells = zip(heads, map(str, row), strict=True)
        whole = ((head, "".join(cell.strip().split("\n"))) for head, cell in cells)
        blocks.append([f"{head:<{indent}}{cell}" for head, cell in whole if cell])
    print_result("\n\n".join("\n".join(block) for block in blocks))


def corpus_field(text: CorpusRecord) -> tuple[str, str]:
    """Return the field of a corpus: its sources, size and hash."""
    size, sha256 = sum(text.digest.parts), text.digest.sha256
    return "corpus", f"{_list_sources(text.sources)}: {size:,} bytes, SHA-256 {sha256[:16]}…"


def _list_sources(names: Sequence[str]) -> str:
    listed = " ".join(Path(name).name or name for name in names[:3])
    return f"{listed} and {len(names) - 3} more" if len(names) > 3 else listed


def vocabulary_field(kind: str, size: int) -> tuple[str, str]:
    """Return the field of a vocabulary; a vocabulary of characters has a token for unknown ones."""
    if kind == "bytes":
        return "vocabulary", f"{size:,} bytes"
    return "vocabulary", f"{size - 1:,} {token_noun(kind)}s and a token for unknown ones"


def print_matching(matching: Matching, entries: Sequence[PlannedEntry]) -> None:
    """Print the matched quantity and each entry's size on stderr."""
    print_fields([("matched", describe_matching(matching))])
    for entry in entries:
        error = "" if entry.relative_error is None else f" ({format_planned_error(entry)})"
        size = (
            f"hidden {entry.hidden_size}{error}: {entry.parameters:,} parameters, "
            f"{format_count(entry.flops_per_character)} FLOPs, {entry.state_size:,} state"
        )
        print_fields([(entry.name, size)])


def print_insufficient_data(insufficient: InsufficientData | None) -> None:
    """Print on stderr why there can be no verdict, if there is a reason."""
    if insufficient:
        reason = describe_insufficient_data(insufficient)
        print_message(f"note: there can be no verdict: {reason}")
