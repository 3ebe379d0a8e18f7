"""Reports of comparisons as text for papers: Markdown, CSV, LaTeX, methods and BibTeX."""

from collections.abc import Iterable, Sequence
from typing import get_args

from charlm import __version__
from charlm.errors import InvalidValueError
from charlm.reporting.tables.bibtex import render_bibtex
from charlm.reporting.tables.comparison import comparison_tables
from charlm.reporting.tables.formats import ReportFormat
from charlm.reporting.tables.latex import escape_prose, render_latex
from charlm.reporting.tables.markdown import render_markdown, wrap_plain
from charlm.reporting.tables.records import (
    Record,
    comparison_records,
    render_records,
    task_records,
)
from charlm.reporting.tables.table import Table
from charlm.reporting.tables.tasks import task_tables
from charlm.reporting.wording.answer import answer_comparison
from charlm.reporting.wording.methods import describe_methods
from charlm.reporting.wording.task_methods import describe_task_methods
from charlm.reporting.wording.tasks import summarize_task_comparison
from charlm.results.comparison import ComparisonReport
from charlm.results.tasks import TaskReport
from charlm.results.timing import TimingReport


def render_report(
    report: ComparisonReport | TaskReport,
    format: ReportFormat = "markdown",
    timing: TimingReport | None = None,
) -> str:
    """Return a comparison as text that a paper can take.

    Args:
        report: Report of a comparison, as `compare` and `load_comparison` return it.
        format: "markdown" or "latex" for tables, "csv" for every number in long form, "methods"
            for paragraphs of text, "bibtex" for the papers of the cells.
        timing: Times of the comparison; without them, tables have none.

    Raises:
        InvalidValueError: There is no such format.
    """
    if format not in get_args(ReportFormat):
        known = ", ".join(get_args(ReportFormat))
        raise InvalidValueError(f"cannot render a report as {format}. Try one of {known}")
    if format == "bibtex":
        return render_bibtex(_cells(report))
    if format == "methods":
        return "\n\n".join(map(wrap_plain, _methods(report, timing))) + "\n"
    if isinstance(report, TaskReport):
        return _render(
            format,
            task_records(report, timing),
            task_tables(report, timing),
            summarize_task_comparison(report),
        )
    return _render(
        format,
        comparison_records(report, timing),
        comparison_tables(report, timing),
        answer_comparison(report),
    )


def _cells(report: ComparisonReport | TaskReport) -> list[str]:
    """Return the cells of a report, each once; rows of a task are named by their cells."""
    if isinstance(report, TaskReport):
        return [row.name for row in report.rows]
    return list(dict.fromkeys(row.cell for row in report.rows))


def _render(
    format: ReportFormat, records: Iterable[Record], tables: Sequence[Table], answer: str
) -> str:
    """Return the records as CSV, or the tables as LaTeX or, with the answer, as Markdown."""
    if format == "csv":
        return render_records(records)
    if format == "latex":
        return render_latex(tables, __version__)
    return render_markdown(answer, tables)


def methods_latex(report: ComparisonReport | TaskReport, timing: TimingReport | None) -> str:
    """Return the paragraphs of methods as LaTeX."""
    paragraphs = _methods(report, timing)
    return "\n\n".join(wrap_plain(escape_prose(text)) for text in paragraphs) + "\n"


def _methods(report: ComparisonReport | TaskReport, timing: TimingReport | None) -> list[str]:
    if isinstance(report, TaskReport):
        return describe_task_methods(report, timing)
    return describe_methods(report, timing)
