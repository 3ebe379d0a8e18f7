"""Comparison of existing runs: load, check that they are comparable, judge and report."""

import logging
from collections.abc import Sequence
from pathlib import Path

from charlm.cells.names import cell_label
from charlm.comparison.cell_properties import linear_beside_others
from charlm.comparison.directory import initialize_comparison_dir
from charlm.comparison.entries import Entry, finished_runs
from charlm.comparison.existing_runs import (
    check_comparable,
    describe_matching,
    differing_settings,
    existing_entries,
    group_by_config,
)
from charlm.comparison.loaded_runs import load_runs
from charlm.comparison.memory import MemoryReport, judge_memory, measure_memory, no_memory
from charlm.comparison.memory_profile import (
    build_profiles,
    describe_tasks,
    read_profiled_tasks,
)
from charlm.comparison.outcomes import load_outcomes
from charlm.comparison.report import (
    Findings,
    build_report,
    build_result,
    write_reports,
)
from charlm.comparison.request import DEFAULT_BASELINES, DEFAULT_MARGIN
from charlm.comparison.timing import build_timing_report
from charlm.data.corpus import Corpus, reload_corpus
from charlm.data.text_notes import inspect_text
from charlm.errors import CharlmError, ConfigError
from charlm.evaluation.baselines import measure_baselines
from charlm.execution.executor import Execution
from charlm.results.baselines import BaselineResult
from charlm.results.comparison import ComparisonResult
from charlm.results.probes import ProbesReport
from charlm.runs.run import Run
from charlm.testing.trusted_cells import find_cell_file

log = logging.getLogger("charlm")


def compare_runs(
    directories: Sequence[str | Path],
    execution: Execution,
    *,
    reference: str = "",
    margin: float = DEFAULT_MARGIN,
    memory: bool = True,
    tasks: Sequence[str | Path] = (),
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
        memory: Whether the memory of every run is measured.
        tasks: Directories of finished comparisons on tasks, which the memory profiles take parts
            from.
        trust_cells: FILE.py:CLASS of runs with custom cells; these files are executed.
        command: Command line to record in timing.json.

    Raises:
        ConfigError: The runs cannot be compared.
    """
    loaded = load_runs(directories)
    for run in loaded.runs:
        run.load_custom_cell(find_cell_file(run, trust_cells))
    check_comparable(loaded.runs)
    groups = group_by_config(loaded.runs, loaded.tuned)
    reference = _choose_reference(groups, reference, loaded.reference)
    entries = existing_entries(groups, reference)
    profiled = read_profiled_tasks(tasks, entries)
    initialize_comparison_dir(execution.directory, "runs")

    corpus = _reload_corpus(loaded.runs, execution)
    outcomes = load_outcomes(entries)
    measured, probes = _measure_memory(entries, corpus, reference, execution, memory=memory)
    findings = Findings(
        memory=measured,
        profiles=build_profiles(
            entries,
            execution.directory if probes else None,
            corpus.unit_kind("test") if corpus else "block",
            profiled,
        ),
        profiled_tasks=describe_tasks(profiled, entries),
        baselines=tuple(_measure_baselines(loaded.runs, corpus, execution)),
        notes=inspect_text(corpus) if corpus else (),
        bare_linear_cells=_bare_linear_cells(entries),
        differing_settings=differing_settings(entries),
    )
    report = build_report(
        "runs",
        entries,
        outcomes,
        findings,
        matching=describe_matching(entries, groups),
        reference=reference,
        margin=margin,
    )
    timing = build_timing_report(outcomes, command)
    result = build_result(report, timing, entries, execution.directory, probes)
    write_reports(execution.directory, result)
    return result


def _bare_linear_cells(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return the labels of bare cells that are linear in their state, beside others."""
    bare = [entry.runs[0].config for entry in entries if entry.runs[0].config.block == "none"]
    return linear_beside_others([config.cell for config in bare]) if bare else ()


def _measure_memory(
    entries: Sequence[Entry],
    corpus: Corpus | None,
    reference: str,
    execution: Execution,
    *,
    memory: bool,
) -> tuple[MemoryReport, ProbesReport | None]:
    """Return the memory of all entries, or why none was measured, and the probes' report."""
    if not memory:
        return no_memory("disabled"), None
    if corpus is None:
        return no_memory("text_gone"), None
    if len({run.record.config.documents for run in finished_runs(entries)}) > 1:
        return no_memory("other_documents"), None  # probes would measure each at places of its own
    probes = measure_memory(entries, execution)
    if probes is None:
        return no_memory("diverged"), None
    unit_kind = corpus.unit_kind("test")
    return judge_memory(entries, execution.directory, reference, unit_kind), probes


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


def _reload_corpus(runs: Sequence[Run], execution: Execution) -> Corpus | None:
    """Return the runs' text; None if it is gone."""
    record = runs[0].record
    try:
        return reload_corpus(record.config, record.text, progress=execution.progress)
    except CharlmError as error:
        log.warning("no baselines and no memory: %s", error)
        return None


def _measure_baselines(
    runs: Sequence[Run], corpus: Corpus | None, execution: Execution
) -> list[BaselineResult]:
    """Measure the baselines of the runs' text; none if it is gone, or test was not scored."""
    if any(run.report and run.report.scored_split != "test" for run in runs):
        log.warning("no baselines: these runs were not scored on the test split")
        return []
    if corpus is None:
        return []
    read = {run.report.characters_read if run.report else None for run in runs}
    characters = read.pop() if len(read) == 1 else None
    return measure_baselines(corpus, execution.directory, DEFAULT_BASELINES, characters)
