"""A comparison on a terminal: its plan and its report."""

from charlm.config import describe_block
from charlm.console import print_message, print_result
from charlm.reporting.terminal.answer_table import answer_table
from charlm.reporting.terminal.memory_profile import print_memory_profile
from charlm.reporting.terminal.tables import (
    corpus_field,
    line_width,
    print_fields,
    print_insufficient_data,
    print_matching,
    print_paragraphs,
    vocabulary_field,
)
from charlm.reporting.terminal.tuning import print_search, print_tuning
from charlm.reporting.wording.answer import answer_comparison
from charlm.reporting.wording.comparison import describe_comparison
from charlm.reporting.wording.findings import describe_findings, describe_linear_cells
from charlm.reporting.wording.machine import describe_machine
from charlm.reporting.wording.matching import describe_parallel_runs, describe_work
from charlm.reporting.wording.memory_profile import comparison_profile, describe_profiled_tasks
from charlm.reporting.wording.text import token_noun
from charlm.reporting.wording.verdicts import describe_statistics, verdict_notes
from charlm.results.comparison import ComparisonReport
from charlm.results.comparison_plan import ComparisonOverview
from charlm.results.timing import TimingReport


def print_comparison_overview(overview: ComparisonOverview) -> None:
    """Print a comparison before its first run, on stderr."""
    config = overview.config
    parallel = describe_parallel_runs(
        overview.parallel_runs, overview.device, overview.memory_limits_parallel
    )
    print_fields(
        [
            corpus_field(overview.corpus),
            vocabulary_field(overview.vocabulary_kind, overview.vocabulary_size),
            ("runs", f"{overview.runs}, {parallel}; {_describe_rates(overview)}"),
            ("reference", overview.reference),
            ("layers", f"{config.num_layers}; {describe_block(config.block, config.conv)}"),
            ("output", overview.out),
        ]
    )
    print_matching(overview.matching, overview.entries)
    if overview.search:
        print_search(overview.search)
    print_insufficient_data(overview.insufficient)
    for note in describe_linear_cells(overview.linear_cells, overview.bare_linear_cells):
        print_message(f"note: {note}")
    if overview.remaining:
        print_fields([("takes", describe_work(overview.remaining, parallel))])


def _describe_rates(overview: ComparisonOverview) -> str:
    """Return where the learning rates are from."""
    if overview.search:
        return "each run tuned"
    rates = {entry.learning_rate for entry in overview.entries if entry.role == "cell"}
    each = ", ".join(
        f"{entry.name} {entry.learning_rate:g}"
        for entry in overview.entries
        if entry.role == "cell"
    )
    return f"learning rate {each}" if len(rates) > 1 else f"learning rate {rates.pop():g}"


def _describe_units(report: ComparisonReport) -> str:
    """Return what the units of the table mean, and the machine that its times are of."""
    return (
        "mbit: a thousandth of a bit. s/M: seconds of training per million characters, on "
        f"{describe_machine(report.environment)}. State: floats carried from one character to the "
        "next."
    )


def print_comparison(report: ComparisonReport, timing: TimingReport) -> None:
    """Print the answer, its table, what qualifies it, and how it was found."""
    print_paragraphs([answer_comparison(report)])
    print_result("")
    print_result("\n".join(answer_table(report, timing, line_width())))
    print_result("")
    print_paragraphs([*describe_findings(report, timing), *verdict_notes(report)])
    print_result("")
    corpus = f"Corpus {report.corpus.sha256[:16]}…"
    conditions = f"{describe_comparison(report)}. {corpus}"
    print_paragraphs([describe_statistics(report), conditions, _describe_units(report)])
    if report.tuning:
        print_tuning(report.tuning)
    print_memory_profile(
        comparison_profile(report),
        "cell",
        token_noun(str(report.settings.get("vocab", ""))),
        describe_profiled_tasks(report.profiled_tasks),
    )
