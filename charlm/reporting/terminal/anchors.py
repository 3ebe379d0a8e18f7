"""Published numbers beside ours on a terminal."""

from charlm.console import print_result
from charlm.reporting.tables.anchors import HEADS, claim_rows, own_machine, summary
from charlm.reporting.terminal.tables import (
    NARROW,
    add_row,
    make_table,
    print_paragraphs,
    print_table,
)
from charlm.results.reproduction import AnchorList, ReproductionReport


def print_anchors(report: ReproductionReport) -> None:
    """Print a table for each anchor that was measured, and what the others need."""
    for anchor in report.anchors:
        if anchor.not_measured:
            continue
        print_result(f"{anchor.name}: {anchor.title}")
        table = make_table(HEADS, left=("number", "ours", "wanted", "met"))
        for row in claim_rows(anchor):
            add_row(table, row)
        print_table(table)
        facts = [
            f"In {anchor.unit}. {anchor.source}: {anchor.published_setting}.",
            f"Ours: {anchor.our_setting}.",
        ]
        if machine := own_machine(anchor, report):
            facts.append(machine)
        print_paragraphs([" ".join(facts)])
        print_result("")
    print_paragraphs([summary(report)])


def print_anchor_list(listing: AnchorList) -> None:
    """Print name, text, time and title of each anchor."""
    table = make_table(
        ("anchor", "text", "minutes", "numbers of"), left=("anchor", "text", "numbers of")
    )
    for anchor in listing.anchors:
        add_row(table, (anchor.name, anchor.text or "-", f"{anchor.minutes:g}", anchor.title))
    print_table(table, NARROW)
    print_paragraphs(["minutes: of all numbers with one seed, about, on one core."])
