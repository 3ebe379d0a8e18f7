"""Comparison of cells on a text: plan, tune, train, score, judge and report.

`compare` is the function of the Python API. `run_comparison` does the work, and reads as a table
of contents: every step takes and returns typed values.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from charlm.comparison.cost_estimate import (
    check_disk_space,
    estimate_cost,
    estimate_disk,
    estimate_memory,
    limit_to_memory,
)
from charlm.comparison.directory import initialize_comparison_dir, open_comparison
from charlm.comparison.entries import finished_cell_runs, training_jobs
from charlm.comparison.plan import ComparisonPlan, plan_comparison
from charlm.comparison.report import (
    build_report,
    build_result,
    build_timing_report,
    load_outcomes,
    write_reports,
)
from charlm.comparison.request import (
    DEFAULT_CELLS,
    DEFAULT_MARGIN,
    DEFAULT_PARAMS,
    DEFAULT_SEEDS,
    ComparisonRequest,
    parse_baselines,
    parse_names,
    settings_of,
    validate_executor,
)
from charlm.comparison.search import plan_search
from charlm.comparison.tuning import planned_work, tune, tuned_entries
from charlm.config import Config
from charlm.data.corpus import Corpus
from charlm.data.sources import make_paths_absolute
from charlm.errors import ConfigError
from charlm.evaluation.baselines import measure_baselines
from charlm.execution.executor import Execution, ExecutorKind, LocalExecutor, run_jobs
from charlm.probes.batch import probe_comparison_runs
from charlm.progress import NoProgress, Progress, ignore
from charlm.results.comparison import (
    ComparisonOverview,
    ComparisonReport,
    ComparisonResult,
    CostEstimate,
    Measure,
)
from charlm.results.tuning import Setting


def compare(
    corpus: Corpus | str | Path | Sequence[str | Path],
    cells: str | Sequence[str] = DEFAULT_CELLS,
    *,
    parameters: int = DEFAULT_PARAMS,
    seeds: int = DEFAULT_SEEDS,
    out: str | Path = "comparison",
    reference: str = "",
    match: Measure = "params",
    margin: float = DEFAULT_MARGIN,
    trials: int | None = None,
    lr_range: str = "",
    baselines: str | Sequence[str] = "all",
    probes: bool = False,
    config: Config | Mapping[str, Setting] | None = None,
    jobs: int = 0,
    device: str = "auto",
    executor: ExecutorKind = "local",
    ray_address: str = "",
    progress: Progress = NoProgress(),
) -> ComparisonReport:
    """Compare recurrent cells on a text with equal budgets, data order and steps.

    A comparison that was stopped continues; more cells, seeds or trials reuse what is done.

    Args:
        corpus: A corpus, or files, directories or names of built-in corpora.
        cells: Names of cells, or FILE.py:CLASS, whose file is executed; a sequence, or a text
            with commas.
        parameters: Parameters of every model; with another `match`, of the LSTM that defines the
            budget.
        seeds: Runs per cell; a verdict needs 6.
        out: Directory of the comparison.
        reference: Cell that the others are compared with; default: the first.
        match: "params", "flops", "state" or "time".
        margin: Smallest relevant difference in bits per character.
        trials: Tuning trials per cell; 0 disables tuning. Default: 6, or 0 if `config` has a
            learning rate.
        lr_range: Learning rates of the trials; default: "3e-4..3e-2".
        baselines: "all", "none", or names as of cells; "transformer" is trained like the cells.
        probes: Whether every run is probed for its memory.
        config: Settings that all runs share: a mapping of fields of `Config`, or a `Config`,
            whose cell, hidden size, seed, minutes, final_eval and device do not count.
        jobs: Runs in parallel; 0: one per core.
        device: "auto", "cpu", "cuda" or "cuda:N".
        executor: "local" or "ray".
        ray_address: HOST:PORT of the Ray cluster.
        progress: Receives progress.

    Returns:
        The report, which is also written to `out`, with all runs.

    Raises:
        ConfigError: The arguments contradict each other.
        Interrupted: A signal came; everything is saved.
    """
    texts, corpus_settings = _texts_of(corpus)
    request = ComparisonRequest(
        texts=texts,
        cells=tuple(parse_names(cells)),
        settings=make_paths_absolute({**corpus_settings, **settings_of(config), "device": device}),
        params=parameters,
        match=match,
        seeds=seeds,
        reference=reference,
        margin=margin,
        trials=trials,
        lr_range=lr_range,
        baselines=parse_baselines(baselines),
        probes=probes,
    )
    validate_executor(executor, ray_address, times_cells=match == "time")
    with open_comparison(
        Path(out),
        "text",
        executor=executor,
        ray_address=ray_address,
        device=device,
        jobs=jobs,
        progress=progress,
    ) as execution:
        return run_comparison(request, execution).report


def _texts_of(
    corpus: Corpus | str | Path | Sequence[str | Path],
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the sources of a text, and the settings that it was read with."""
    if isinstance(corpus, Corpus):
        if "-" in corpus.record.sources:
            raise ConfigError(
                "cannot compare on a corpus from standard input: every run reads it again. "
                "Try a file"
            )
        return corpus.record.sources, corpus.settings
    names = [corpus] if isinstance(corpus, str | Path) else corpus
    return tuple(map(str, names)), {}


def run_comparison(
    request: ComparisonRequest,
    execution: Execution,
    command: str = "charlm.compare",
    on_plan: Callable[[ComparisonOverview], object] = ignore,
) -> ComparisonResult:
    """Do everything that a request asks for, and write report.json and timing.json.

    Args:
        request: What is compared.
        execution: Where jobs run; its directory is that of the comparison, locked by the caller.
        command: Command line to record in timing.json.
        on_plan: Is called before the first run.
    """
    plan = plan_comparison(request, execution)
    initialize_comparison_dir(execution.directory, "text")
    resources = check_resources(plan, execution)
    execution = resources.execution
    on_plan(describe_plan(plan, resources))

    baselines = measure_baselines(plan.corpus, execution.directory, request.measured_baselines)
    tuning = tune(plan, execution)
    entries = tuned_entries(plan, tuning)
    run_jobs(training_jobs(entries, plan.texts), execution)
    finished = finished_cell_runs(entries) if request.probes else []
    probes = probe_comparison_runs(finished, execution) if finished else None

    outcomes = load_outcomes(entries)
    report = build_report(
        "text",
        entries,
        outcomes,
        matching=plan.matching,
        reference=request.reference_label,
        margin=request.margin,
        baselines=baselines,
        tuning=tuning,
    )
    timing = build_timing_report(outcomes, command)
    result = build_result(report, timing, entries, execution.directory, probes)
    write_reports(execution.directory, result)
    return result


def dry_run(request: ComparisonRequest, execution: Execution) -> CostEstimate:
    """Estimate what a comparison will take; train nothing but a moment of each cell.

    Raises:
        ConfigError: The execution is not on this machine.
    """
    if not isinstance(execution.executor, LocalExecutor):
        raise ConfigError(
            "cannot estimate costs in a cluster: cells are timed on this machine. "
            "Try --executor local"
        )
    plan = plan_comparison(request, execution)
    initialize_comparison_dir(execution.directory, "text")
    with execution.progress.counter("timing each entry") as count:
        return estimate_cost(plan, execution.directory, execution.executor, count)


class CheckedResources(NamedTuple):
    """Execution of a plan that fits into memory and onto the disk."""

    execution: Execution
    memory_limits_parallel: bool  # whether fewer run in parallel than requested


def check_resources(plan: ComparisonPlan, execution: Execution) -> CheckedResources:
    """Limit parallel runs to those that fit into memory.

    In a cluster, every machine checks its own memory.

    Raises:
        StorageError: The disk is too small for what remains.
    """
    planned = planned_work(plan)
    remaining = [work for work in planned if not work.progress().status] or planned
    disk = sum(estimate_disk(work, plan.corpus) for work in remaining)
    check_disk_space(execution.directory, disk)
    if not isinstance(execution.executor, LocalExecutor):
        return CheckedResources(execution, memory_limits_parallel=False)
    device = execution.executor.device
    needs = [
        estimate_memory(work.run.config, plan.corpus.vocabulary.size, device) for work in remaining
    ]
    limited = limit_to_memory(execution.executor, needs)
    return CheckedResources(
        Execution(execution.directory, limited.executor, execution.progress), limited.is_limited
    )


def describe_plan(plan: ComparisonPlan, resources: CheckedResources) -> ComparisonOverview:
    """Return what is shown of a plan before its first run."""
    execution = resources.execution
    return ComparisonOverview(
        corpus=plan.corpus.record,
        vocabulary_size=plan.corpus.vocabulary.size,
        vocabulary_kind=plan.corpus.vocabulary.kind,
        matching=plan.matching,
        entries=tuple(entry.summary() for entry in plan.entries),
        runs=len(training_jobs(plan.entries, plan.texts)),
        config=plan.entries[0].runs[0].config,
        search=plan_search(plan.search, plan.max_steps) if plan.search else None,
        parallel_runs=execution.executor.capacity(),
        memory_limits_parallel=resources.memory_limits_parallel,
        device=execution.executor.description,
        out=str(execution.directory),
        insufficient=plan.insufficient,
    )
