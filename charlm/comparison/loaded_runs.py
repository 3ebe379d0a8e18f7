"""Runs that existing runs are compared from: directories of runs, and of comparisons."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from charlm.comparison.directory import MARKER, REPORT_FILE
from charlm.comparison.stored_reports import read_report
from charlm.errors import ConfigError
from charlm.results.comparison import ComparisonMarker, ComparisonReport
from charlm.runs.run import Run, is_run
from charlm.storage.json_files import read_json
from charlm.storage.reading import check_plain_directory


class LoadedRuns(NamedTuple):
    """Runs, and the first run of the default reference.

    Attributes:
        runs: All runs.
        reference: The first run of the default reference.
        tuned: Directory of a run -> settings that were tuned for each seed by itself.
    """

    runs: list[Run]
    reference: Run
    tuned: Mapping[Path, Collection[str]]


def load_runs(directories: Sequence[str | Path]) -> LoadedRuns:
    """Load runs from directories.

    The directory of a comparison expands to the runs of cells in its report. The default reference
    is that of the first comparison if it is named first, else the first run.
    """
    runs: list[Run] = []
    reference: Run | None = None
    tuned: dict[Path, Collection[str]] = {}
    for directory in map(Path, directories):
        if is_run(directory):
            run = Run(directory)
            runs.append(run)
            reference = reference or run
            continue
        report = _load_comparison_report(directory)
        rows = {
            row.name: [Run(directory / "runs" / name) for name in row.runs]
            for row in report.rows
            if row.role == "cell"
        }
        searched = report.tuning.search.space if report.tuning else ()
        for run in (run for row_runs in rows.values() for run in row_runs):
            runs.append(run)
            tuned[run.path] = searched
        reference = reference or rows[report.statistics.reference][0]
    if reference is None:
        raise ConfigError("cannot compare: no run is given. Name at least one run")
    return LoadedRuns(runs, reference, tuned)


def _load_comparison_report(directory: Path) -> ComparisonReport:
    """Read the report of a comparison that has trained its runs.

    Raises:
        ConfigError: It is not finished, or has no runs of its own.
        DataError: It is damaged, or its runs are links.
    """
    if not (directory / REPORT_FILE).exists():
        raise ConfigError(
            f"cannot compare {directory}: it is not finished. Try the command that began it, "
            "which continues it, or name its runs"
        )
    if read_json(directory / MARKER, ComparisonMarker).kind != "text":
        raise ConfigError(
            f"cannot compare {directory}: it is no comparison that has trained runs on a text. "
            "Try the directories of runs"
        )
    report = read_report(directory)
    check_plain_directory(directory / "runs")
    for row in report.cells:
        for name in row.runs:
            check_plain_directory(directory / "runs" / name)
    return report
