"""An exported model on a terminal: its files, and how exactly it was verified."""

from pathlib import Path

from charlm.console import print_message, print_result, shell_command
from charlm.reporting.formatting import format_size
from charlm.reporting.terminal.tables import add_row, make_table, print_table
from charlm.results.export import ExportReport


def print_export(report: ExportReport) -> None:
    """Print the files with their sizes and the verification; on stderr what to do next."""
    table = make_table(("file", "size"), left=("file",))
    for file in report.files:
        add_row(table, (file.name, format_size(file.size)))
    print_table(table)
    for check in report.parity:
        print_result(
            f"{check.reader} {check.dtype}: logits differ from the model's by at most "
            f"{check.max_difference:.1e}"
        )
    reader = str(Path(report.directory, "char_lm.py"))
    command = shell_command(["python", reader, "The ", "--length", "200"])
    print_message(f"next: {command}", verbatim=True)
