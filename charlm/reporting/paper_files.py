"""All files of a comparison that a paper takes: tables, methods, bibliography and figures."""

from charlm.reporting.figure_files import comparison_figures, render_files, task_report_figures
from charlm.reporting.tables.render import methods_latex, render_report
from charlm.results.comparison import ComparisonResult
from charlm.results.tasks import TaskComparisonResult


def render_paper_files(result: ComparisonResult | TaskComparisonResult) -> dict[str, bytes]:
    """Return all files: name -> content."""
    report, timing = result.report, result.timing
    texts = {
        "tables.md": render_report(report, "markdown", timing),
        "tables.tex": render_report(report, "latex", timing),
        "numbers.csv": render_report(report, "csv", timing),
        "methods.txt": render_report(report, "methods", timing),
        "methods.tex": methods_latex(report, timing),
        "cells.bib": render_report(report, "bibtex", timing),
    }
    files = {name: text.encode() for name, text in texts.items()}
    if isinstance(result, TaskComparisonResult):
        figures = task_report_figures(result.report)
    else:
        figures = comparison_figures(result)
    for figure in figures:
        files |= render_files(figure)
    return files
