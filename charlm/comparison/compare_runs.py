"""Comparison of existing runs: load, check that they are comparable, judge and report."""

import logging
from collections.abc import Sequence
from pathlib import Path

from charlm.cells.names import cell_label
from charlm.comparison.directory import initialize_comparison_dir
from charlm.comparison.existing_runs import (
    check_comparable,
    describe_matching,
    differing_settings,
    existing_entries,
    group_by_config,
    load_runs,
)
from charlm.comparison.report import (
    build_report,
    build_result,
    build_timing_report,
    load_outcomes,
    write_reports,
)
from charlm.comparison.request import DEFAULT_MARGIN
from charlm.data.corpus import reload_corpus
from charlm.errors import CharlmError, ConfigError
from charlm.evaluation.baselines import measure_baselines
from charlm.execution.executor import Execution
from charlm.probes.batch import probe_comparison_runs
from charlm.results.comparison import BaselineResult, ComparisonResult
from charlm.runs.run import Run
from charlm.testing.trusted_cells import find_cell_file

log = logging.getLogger("charlm")


def compare_runs(
    directories: Sequence[str | Path],
    execution: Execution,
    *,
    reference: str = "",
    margin: float = DEFAULT_MARGIN,
    probes: bool = False,
    trust_cells: Sequence[str] = (),
    command: str = "charlm.compare_runs",
) -> ComparisonResult:
    """Compare runs that have ended, and write report.json and timing.json.

    Args:
        directories: Of runs; that of a comparison expands to the runs in its report.
        execution: Its directory gets the reports, and is locked by the caller.
        reference: Name of the entry that the others are compared with; default: that of the first
            comparison, or of the first run.
        margin: Smallest relevant difference in bits per character.
        probes: Whether every run is probed for its memory.
        trust_cells: FILE.py:CLASS of runs with custom cells; these files are executed.
        command: Command line to record in timing.json.

    Raises:
        ConfigError: The runs cannot be compared.
    """
    loaded = load_runs(directories)
    for run in loaded.runs:
        run.load_custom_cell(find_cell_file(run, trust_cells))
    check_comparable(loaded.runs)
    groups = group_by_config(loaded.runs)
    reference = _choose_reference(groups, reference, loaded.reference)
    initialize_comparison_dir(execution.directory, "runs")

    entries = existing_entries(groups, reference)
    baselines = _measure_baselines(loaded.runs, execution)
    finished = [run for runs in groups.values() for run in runs if run.report] if probes else []
    probe_report = probe_comparison_runs(finished, execution) if finished else None

    outcomes = load_outcomes(entries)
    report = build_report(
        "runs",
        entries,
        outcomes,
        matching=describe_matching(entries, groups),
        reference=reference,
        margin=margin,
        baselines=baselines,
        differing_settings=differing_settings(entries),
    )
    timing = build_timing_report(outcomes, command)
    result = build_result(report, timing, entries, execution.directory, probe_report)
    write_reports(execution.directory, result)
    return result


def _choose_reference(groups: dict[str, list[Run]], wanted: str, default: Run) -> str:
    """Return the name of the reference: as requested, or of the group of the default run."""
    if not wanted:
        return next(
            name for name, runs in groups.items() if any(run.path == default.path for run in runs)
        )
    if (name := cell_label(wanted)) not in groups:
        raise ConfigError(
            f"cannot use --reference {wanted}: it is not among the runs. "
            f"Try one of {', '.join(groups)}"
        )
    return name


def _measure_baselines(runs: Sequence[Run], execution: Execution) -> list[BaselineResult]:
    """Measure the baselines of the runs' text; none if it is gone, or test was not scored."""
    if any(run.report and run.report.scored_split != "test" for run in runs):
        log.warning("no baselines: these runs were not scored on the test split")
        return []
    record = runs[0].record
    try:
        corpus = reload_corpus(record.config, record.text, progress=execution.progress)
    except CharlmError as error:
        log.warning("no baselines: %s", error)
        return []
    return measure_baselines(corpus, execution.directory)
