"""A comparison on a text: what is about to be done, and what came of it."""

from pathlib import Path
from textwrap import wrap
from typing import Any

from rich.table import Table
from rich.text import Text

from charlm.cells.names import cell_label
from charlm.config import describe_block
from charlm.console import escape_control_characters, print_result
from charlm.reporting.formatting import format_count
from charlm.reporting.terminal.tables import (
    NARROW,
    corpus_field,
    make_table,
    print_fields,
    print_table,
    vocabulary_field,
)
from charlm.reporting.wording import (
    baseline_rows,
    describe_comparison,
    describe_statistics,
    format_row,
    format_timing,
    power_notes,
)


def print_plan(
    planned: Any, corpus: Any, footing: Any, where: str, place: Path, tuned: bool
) -> None:
    """A comparison before its first run."""
    config = planned[0].config
    rates = "each cell tuned" if tuned else f"--lr {config.learning_rate:g} for every cell"
    print_fields(
        [
            corpus_field(corpus.record),
            vocabulary_field(corpus.vocabulary),
            ("runs", f"{len(planned)}, {where}; {rates}"),
            ("layers", f"{config.num_layers}; {describe_block(config.block)}"),
            ("kept in", str(place)),
        ]
    )
    print_budget_match(planned, footing)


def print_budget_match(planned: Any, footing: Any) -> None:
    """What is equal, and what each cell has of it and of all else that could be."""
    print_fields([("equal", footing.told)])
    for one in {one.config.cell: one for one in planned}.values():
        cell = one.config.cell
        told = f"hidden {one.config.hidden_size} ({footing.relative_errors[cell]:+.2%}): {one.parameters:,} "
        told += (
            f"parameters, {format_count(one.flops_per_character)} FLOPs, {one.state_size:,} state"
        )
        print_fields([(cell_label(cell), told)])


def print_transformer(transformer: Any) -> None:
    """The Transformer of a comparison, one run a seed, before the first of them."""
    for one in transformer[:1]:
        told = f"hidden {one.config.hidden_size}: {one.parameters:,} parameters, beside the cells"
        print_fields([("transformer", told)])


def _baselines(report: dict[str, Any]) -> Table:
    """What the same text costs otherwise."""
    table = make_table()
    head, *rows = baseline_rows(report)
    for place, name in enumerate(head):
        table.add_column(name, justify="right" if place == 1 else "left", max_width=NARROW - 22)
    for row in rows:
        table.add_row(*(Text(escape_control_characters(cell)) for cell in row))
    return table


def print_report(report: dict[str, Any], times: dict[str, Any]) -> None:
    """The table of a comparison, by what its words were found, and how long it took."""
    drawing = make_table()
    told = [format_row(row, report["unit"]) for row in report["rows"]]
    for head in told[0]:
        drawing.add_column(head, justify="left" if head in ("cell", "verdict") else "right")
    for one in told:
        drawing.add_row(*(Text(escape_control_characters(cell)) for cell in one.values()))
    print_table(drawing)
    if report["baselines"]:
        print_table(_baselines(report))
    lines = wrap(describe_statistics(report), NARROW)
    lines += wrap("; ".join(power_notes(report)), NARROW)
    of = f"Corpus {report['corpus']['sha256'][:16]}…"
    lines += wrap(f"{describe_comparison(report)}. {of}", NARROW, break_on_hyphens=False)
    print_result("\n".join([*lines, *wrap(format_timing(times), NARROW)]))
