"""A comparison on a terminal: its plan and its report."""

from rich.table import Table

from charlm.config import describe_block
from charlm.reporting.terminal.tables import (
    NARROW,
    add_row,
    corpus_field,
    make_table,
    print_fields,
    print_insufficient_data,
    print_matching,
    print_paragraphs,
    print_table,
    table_of,
    vocabulary_field,
)
from charlm.reporting.terminal.tuning import print_search, print_tuning
from charlm.reporting.wording.baselines import baseline_table
from charlm.reporting.wording.comparison import describe_comparison, describe_timing
from charlm.reporting.wording.matching import describe_parallel_runs
from charlm.reporting.wording.rows import cell_rows, format_row
from charlm.reporting.wording.verdicts import describe_statistics, verdict_notes
from charlm.results.comparison import ComparisonOverview, ComparisonReport, TimingReport


def print_comparison_overview(overview: ComparisonOverview) -> None:
    """Print a comparison before its first run, on stderr."""
    config = overview.config
    parallel = describe_parallel_runs(
        overview.parallel_runs, overview.device, overview.memory_limits_parallel
    )
    rates = (
        "each cell tuned" if overview.search else f"--lr {config.learning_rate:g} for every cell"
    )
    print_fields(
        [
            corpus_field(overview.corpus),
            vocabulary_field(overview.vocabulary_kind, overview.vocabulary_size),
            (
                "runs",
                f"{overview.runs}, {parallel}; {rates}",
            ),
            ("layers", f"{config.num_layers}; {describe_block(config.block)}"),
            ("output", overview.out),
        ]
    )
    print_matching(overview.matching, overview.entries)
    if overview.search:
        print_search(overview.search)
    print_insufficient_data(overview.insufficient)


def print_comparison(report: ComparisonReport, timing: TimingReport) -> None:
    """Print the table of a comparison, its baselines, its verdicts' basis, times and tuning."""
    rows = [format_row(row, report.unit) for row in cell_rows(report)]
    print_table(table_of(rows, left=["cell", "verdict"]))
    if baseline_table(report)[1]:
        print_table(_baselines(report))
    paragraphs = [describe_statistics(report), "; ".join(verdict_notes(report))]
    corpus = f"Corpus {report.corpus.sha256[:16]}…"
    paragraphs += [f"{describe_comparison(report)}. {corpus}", describe_timing(timing)]
    print_paragraphs(paragraphs)
    if report.tuning:
        print_tuning(report.tuning)


def _baselines(report: ComparisonReport) -> Table:
    table = make_table()
    heads, rows = baseline_table(report)
    for number, head in enumerate(heads):
        table.add_column(head, justify="right" if number == 1 else "left", max_width=NARROW - 22)
    for row in rows:
        add_row(table, row)
    return table
