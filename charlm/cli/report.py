"""`charlm report`: tables, methods, bibliography and figures of a finished comparison."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import to_builtins

from charlm import console
from charlm.cli.app import app
from charlm.cli.help import COMPARE
from charlm.cli.options import JSON, check_directories_exist
from charlm.errors import ConfigError
from charlm.reporting.tables.formats import ReportFormat
from charlm.results.report_text import ReportFiles, ReportText
from charlm.storage import directories, files

if TYPE_CHECKING:
    from charlm.results.comparison import ComparisonResult
    from charlm.results.tasks import TaskComparisonResult


@app.command(name="report", rich_help_panel=COMPARE)
def report_command(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Directory of a comparison.",
            show_default=False,
            callback=check_directories_exist,
        ),
    ],
    format: Annotated[
        ReportFormat | None,
        typer.Option(
            "--format",
            "-f",
            help="What is printed: tables as markdown or latex, every number as csv, "
            "methods in words, or bibtex of the cells. [default: markdown]",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="New directory for all formats, and for figures as SVG, PDF and PNG.",
            show_default=False,
        ),
    ] = None,
    json: JSON = False,
) -> None:
    """Print tables, methods or references of a comparison, for a paper.

    DIR is that of charlm compare-cells or charlm tasks compare, finished. Nothing is measured
    anew. Times stand with the machine that they are of.

    Examples:
        $ charlm report comparison                          # tables as Markdown
        $ charlm report comparison -f latex > tables.tex    # for booktabs
        $ charlm report comparison --out paper              # all, with figures
    """
    if out is not None and format is not None:
        raise ConfigError(
            "cannot use --format with --out, which writes all formats. Try --out alone, or "
            f"--format {format} > FILE"
        )
    if out is not None:
        files.check_new(out, "--out")
    from charlm.comparison.finished import load_comparison
    from charlm.reporting.tables.render import render_report

    result = load_comparison(directory)
    if out is not None:
        written = write_paper_files(result, out)
        if json:
            console.print_json(to_builtins(written))
        else:
            console.print_result("\n".join(str(out / name) for name in written.files))
        return
    text = render_report(result.report, format or "markdown", result.timing)
    if json:
        console.print_json(to_builtins(ReportText(format=format or "markdown", text=text)))
    else:
        console.print_result(text.rstrip("\n"), verbatim=True)


def write_paper_files(result: "ComparisonResult | TaskComparisonResult", out: Path) -> ReportFiles:
    """Write all files of a comparison into a new directory, all or none."""
    from charlm.reporting.paper_files import render_paper_files

    contents = render_paper_files(result)
    files.make_directory(out.absolute().parent)
    directories.write_directory_atomic(out.absolute(), contents)
    return ReportFiles(out=str(out), files=tuple(sorted(contents)))
