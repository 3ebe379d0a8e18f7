"""charlm compare-cells, of runs that are there already."""

import sys
from pathlib import Path

from charlm import console
from charlm.cells.names import cell_label, parse_custom_cell
from charlm.comparison.request import ComparisonOutcome, ComparisonRequest
from charlm.config import option_name
from charlm.errors import CharlmError, ConfigError
from charlm.evaluation.baselines import Baseline
from charlm.execution.executor import Execution
from charlm.probes.batch import probe_comparison_runs
from charlm.runs.run import Run
from charlm.testing.trusted_cells import find_cell_file

COMPARISON_KIND = "runs"
ALLOWED_OPTIONS = {
    "corpus",
    "baseline",
    "margin",
    "out",
    "jobs",
    "log_every",
    "probe",
    "json",
    "device",
}


def is_run_list(names: list[str]) -> bool:
    """Whether these are directories of runs and comparisons, and no texts."""
    made = [
        name
        for name in names
        if any((Path(name) / file).exists() for file in ("run.json", "comparison.json"))
    ]
    if made and len(made) < len(names):
        (other, *_) = [name for name in names if name not in made]
        raise ConfigError(
            f"{made[0]} is of runs, and {other} is not: name only runs, or only texts"
        )
    return bool(made)


def validate(asked: ComparisonRequest) -> None:
    """What is of runs that are yet to be made; --cells names only files that have a run's cell."""
    for name in sorted(asked.explicit_options - ALLOWED_OPTIONS):
        if name != "cells" or not all(map(parse_custom_cell, asked.cells or [])):
            raise ConfigError(
                f"{option_name(name)} is of runs to be made: leave it out, as {asked.corpus[0]} is there "
                "already"
            )


def prepare(_: ComparisonRequest) -> None:
    """There is nothing to be said before the runs are looked at."""


def compare_runs(work: Execution, asked: ComparisonRequest) -> ComparisonOutcome:
    """What the runs came to together, probed if so told."""
    from charlm.comparison import existing_runs
    from charlm.comparison import report as conclusion
    from charlm.comparison.plan import initialize_comparison_dir
    from charlm.comparison.verdicts import EQUIVALENCE_MARGIN
    from charlm.reporting.terminal import comparison

    runs, base = existing_runs.load_runs(asked.corpus)
    for run in runs:
        run.load_custom_cell(find_cell_file(run, asked.cells or []))
    existing_runs.check_comparable(runs)
    named = existing_runs.group_by_config(runs)
    usual = next(name for name, of in named.items() if base in of)
    baseline = cell_label(asked.baseline) or usual
    if baseline not in named:
        raise ConfigError(f"--reference {baseline}: one of {', '.join(named)}")
    initialize_comparison_dir(work.directory, COMPARISON_KIND)
    compared = existing_runs.summarize_runs(named, baseline)
    judge = conclusion.VerdictSettings(baseline, asked.margin or EQUIVALENCE_MARGIN)
    report = conclusion.build_report(compared, judge, measure_baselines(runs, work))
    finished = [run for of in named.values() for run in of if run.report]
    answers = probe_comparison_runs(finished, work) if asked.probe and finished else None
    times = conclusion.build_timing_report(compared.runs, ["charlm", *sys.argv[1:]])
    conclusion.write_reports(
        work.directory, compared.runs, report, times, answers, console.print_message
    )
    return ComparisonOutcome(
        report, lambda: comparison.print_report(report, times), "report.html and report.json"
    )


def measure_baselines(runs: "list[Run]", work: Execution) -> "list[Baseline]":
    """What the same text costs otherwise; none, and it is said why, if it is no longer there."""
    from charlm.data.corpus import reload_corpus
    from charlm.evaluation import baselines
    from charlm.reporting.terminal import progress

    record = runs[0].record
    try:
        if any(run.report and run.report["scored_split"] != "test" for run in runs):
            raise ConfigError("they were not scored on test, as baselines are")
        with progress.progress_counter("reading the text", work.log_every) as tick:
            text = reload_corpus(record.config, record.text, [])
    except CharlmError as error:
        console.print_message(f"no baselines stand beside these runs: {error}")
        return []
    return baselines.load_or_measure_baselines(
        text, work.directory, lambda name: console.print_message(f"measuring {name}")
    )
