"""Difference of two runs on a terminal."""

from collections.abc import Sequence

from charlm.cells.names import cell_label
from charlm.console import print_result
from charlm.reporting.terminal.tables import NARROW, print_paragraphs, print_table, table_of
from charlm.reporting.wording.difference import (
    describe_difference,
    describe_passage,
    describe_scope,
    difference_heads,
    difference_rows,
    passage_line,
    side_names,
)
from charlm.reporting.wording.text import describe_text_note
from charlm.results.difference import GroupDifference, PassageDifference, RunDifference

CONTEXT = 30  # characters of context on each side of a passage


def print_difference(report: RunDifference) -> None:
    """Print where one run needs more bits than the other."""
    a, b = side_names(report)
    width = max(len(a), len(b))
    for name, side in ((a, report.a), (b, report.b)):
        bits = f"{side.bits_per_char:.4f} bits/char"
        print_result(f"{name:<{width}}  {bits}  {cell_label(side.cell)}, {side.vocabulary_kind}")
    part = f"the {report.split} split" if report.split else "the text"
    print_result(f"{'text':<{width}}  {report.characters:,} characters of {part}\n")
    notes = [f"note: {describe_text_note(note)}" for note in report.notes]
    print_paragraphs([describe_difference(report), *describe_scope(report), *notes])
    for head, groups in (
        ("class", report.by_class),
        ("place in the word", report.by_word_position),
        ("word read before", report.by_distance),
    ):
        _print_groups(report, head, groups)
    _print_passages(f"{a} loses most", report.a_loses)
    _print_passages(f"{b} loses most", report.b_loses)


def _print_groups(report: RunDifference, head: str, groups: Sequence[GroupDifference]) -> None:
    heads = difference_heads(report, head)
    rows = [dict(zip(heads, row, strict=True)) for row in difference_rows(groups)]
    if rows:
        print_result("")
        print_table(table_of(rows, [head]))


def _print_passages(title: str, passages: Sequence[PassageDifference]) -> None:
    if not passages:
        return
    print_result(f"\n{title}")
    for passage in passages:
        print_result(f"  {describe_passage(passage)}")
        line = passage_line(passage, CONTEXT)
        for start in range(0, len(line), NARROW - 4):
            print_result("    " + line[start : start + NARROW - 4])
