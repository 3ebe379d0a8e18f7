"""Generated parts of README and docs: functions that their cog blocks call.

    python -m cogapp -r -I scripts -p "from docs_blocks import *" README.md docs/tutorial/*.md

A block such as `<!-- [[[cog step("lstm") ]]] -->` is followed by its output, up to the end mark.
Outputs of commands that take long come from docs/tutorial/transcript.json, which
scripts/docs_record.py writes; all others are made anew.
"""

import ast
import contextlib
import inspect
import io
import json
import os
import re
import textwrap
from pathlib import Path
from unittest import mock

import cog
import msgspec
from faults.hazard import Faults
from reference_cli import help_text
from reference_parts import cells_table

from charlm.cells.loader import get_cell
from charlm.reporting.tables.formats import ReportFormat
from charlm.reporting.tables.render import render_report
from charlm.reporting.terminal.comparison import print_comparison
from charlm.results.comparison import ComparisonReport
from charlm.results.timing import TimingReport
from charlm.storage.json_files import read_sealed_json

__all__ = [
    "cells_table",
    "command_help",
    "comparison",
    "eight_cells",
    "faults",
    "output",
    "paper",
    "step",
]

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "docs" / "explanation" / "comparison"
EIGHT_CELLS = ROOT / "docs" / "explanation" / "eight-cells"
FAULTS = ROOT / "docs" / "reference" / "reliability" / "faults.json"
TRANSCRIPT = ROOT / "docs" / "tutorial" / "transcript.json"
COLUMNS = "83"  # of the printed comparison


def fence(text: str, language: str = "text") -> None:
    """Write a block of code."""
    cog.outl(f"```{language}\n{text.rstrip()}\n```")


def step(cell: str) -> None:
    """Write the method `step` of a cell, without its docstring."""
    source = textwrap.dedent(inspect.getsource(get_cell(cell).step))
    tree = ast.parse(source).body[0]
    assert isinstance(tree, ast.FunctionDef)
    docstring = tree.body[0]
    lines = source.splitlines()
    del lines[docstring.lineno - 1 : docstring.end_lineno]
    fence("\n".join(lines), "python")


def command_help(*words: str) -> None:
    """Write what `charlm WORDS --help` prints."""
    fence(help_text(words))


def comparison(first: str = "", last: str = "") -> None:
    """Write the printed example comparison, from the paragraph that starts with `first`.

    Args:
        first: Start of the first paragraph; "" is the first of all.
        last: Start of the first paragraph that is left out; "" writes all.
    """
    text = printed_comparison(EXAMPLE)
    start = text.index(first)
    fence(text[start : text.index(last, start) if last else len(text)])


def eight_cells() -> None:
    """Write the printed comparison of eight cells."""
    fence(printed_comparison(EIGHT_CELLS))


def faults() -> None:
    """Write the table of injected faults."""
    record = msgspec.json.decode(FAULTS.read_bytes(), type=Faults)
    versions = ", ".join(f"{name} {number}" for name, number in record.versions.items())
    cog.outl(f"Machine: {record.machine}; {versions}.\n")
    cog.outl("| hazard | method | trials | failures | CPU s | date, commit | command |")
    cog.outl("|---|---|---|---|---|---|---|")
    for row in record.measured:
        hazard = row.hazard
        cells = ("", row.problem, "0", "1", "")
        if hazard:
            cells = (
                hazard.name,
                hazard.method,
                f"{hazard.trials:,}",
                f"{len(hazard.failures):,}",
                f"{hazard.seconds:,.0f}",
            )
        command = row.command.removeprefix("python scripts/run_faults.py ")
        command = command.removesuffix(" --scale 1")
        escaped = " | ".join(cell.replace("|", "\\|") for cell in cells)
        cog.outl(f"| {escaped} | {row.date}, {row.commit} | `{command}` |")


def paper(format: ReportFormat, language: str = "text", first: str = "", lines: int = 0) -> None:
    """Write what `charlm report -f FORMAT` prints of the example comparison.

    Args:
        format: Format of the report.
        language: Language of the block of code.
        first: Start of the first line; "" is the first of all.
        lines: Number of lines; 0: all.
    """
    report, times = load_comparison(EXAMPLE)
    text = render_report(report, format, times)
    shown = text[text.index(first) :].splitlines()
    fence("\n".join(shown[: lines or None]), language)


def load_comparison(directory: Path) -> tuple[ComparisonReport, TimingReport]:
    """Return report and times of a comparison."""
    return (
        read_sealed_json(directory / "report.json", ComparisonReport),
        read_sealed_json(directory / "timing.json", TimingReport),
    )


def printed_comparison(directory: Path) -> str:
    """Return what `charlm compare-cells` prints of a report."""
    report, times = load_comparison(directory)
    printed = io.StringIO()
    environment = {"COLUMNS": COLUMNS, "NO_COLOR": "1", "TERM": "dumb"}
    with mock.patch.dict(os.environ, environment), contextlib.redirect_stdout(printed):
        print_comparison(report, times)
    return printed.getvalue()


def shell_commands(block: str) -> list[str]:
    """Return the commands of a code block; a backslash continues a line."""
    lines = block.replace("\\\n", " ").splitlines()
    return [" ".join(line.split()) for line in lines if line.strip()]


def output(*commands: str, lines: int = 0) -> None:
    """Write the recorded outputs of the code block above.

    Args:
        commands: Starts of the commands whose outputs are shown; none: all of the block.
        lines: Lines that are shown of each; 0: all.

    Raises:
        LookupError: A command has not been recorded: run scripts/docs_record.py.
    """
    page = Path(cog.inFile).read_text().splitlines()[: cog.firstLineNum - 1]
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", "\n".join(page) + "\n", re.S | re.M)
    blocks = [block for language, block in fences if language in ("", "bash")]
    recorded = json.loads(TRANSCRIPT.read_text())
    outputs = []
    for command in shell_commands(blocks[-1]):
        if not command.startswith(commands or ""):
            continue
        if command not in recorded:
            raise LookupError(f"{command}: not recorded, run scripts/docs_record.py")
        outputs.append("\n".join(recorded[command].rstrip().splitlines()[: lines or None]))
    fence("\n".join(filter(None, outputs)))
