"""Comparison of cells on a text: plan, train, bracket, probe, judge and report.

`compare` is the function of the Python API. `run_comparison` does the work, and reads as a table
of contents: every step takes and returns typed values.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from charlm.comparison.budget_report import build_budget
from charlm.comparison.cost_estimate import (
    check_disk_space,
    estimate_cost,
    estimate_disk,
    estimate_memory,
    limit_to_memory,
)
from charlm.comparison.directory import (
    check_comparison_dir,
    initialize_comparison_dir,
    open_comparison,
)
from charlm.comparison.entries import Entry, by_seed
from charlm.comparison.memory import MemoryReport, judge_memory, measure_memory, no_memory
from charlm.comparison.plan import ComparisonPlan, plan_comparison
from charlm.comparison.report import (
    Findings,
    build_report,
    build_result,
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
from charlm.comparison.throughput import Speeds, measure_speeds, measure_startup_time
from charlm.comparison.timing import break_down_cpu, build_timing_report
from charlm.comparison.tuning import describe_search, tune, tuned_entries
from charlm.comparison.work import PlannedWork, bracket_work, order_jobs, planned_work
from charlm.config import Config
from charlm.data.corpus import Corpus
from charlm.data.sources import make_paths_absolute
from charlm.data.text_notes import inspect_text
from charlm.errors import ConfigError
from charlm.evaluation.baselines import measure_baselines, ngram_memory
from charlm.execution.device import available_cores, select_device
from charlm.execution.executor import Execution, ExecutorKind, LocalExecutor, run_jobs
from charlm.progress import NoProgress, Progress, ignore
from charlm.results.comparison import (
    ComparisonOverview,
    ComparisonReport,
    ComparisonResult,
    CostEstimate,
    Measure,
)
from charlm.results.probes import ProbesReport
from charlm.results.tuning import Setting

NGRAM = "n-gram"
NGRAM_LENGTHS = 1, 2, 4, 8, 16, 64, 256, 1024  # characters of context, of its memory


def compare(
    corpus: Corpus | str | Path | Sequence[str | Path],
    cells: str | Sequence[str] = DEFAULT_CELLS,
    *,
    parameters: int = DEFAULT_PARAMS,
    seeds: int = DEFAULT_SEEDS,
    first_seed: int = 0,
    out: str | Path = "comparison",
    minutes: float = 0.0,
    reference: str = "",
    match: Measure = "params",
    margin: float = DEFAULT_MARGIN,
    trials: int = 0,
    lr_range: str = "",
    baselines: str | Sequence[str] = "all",
    memory: bool = True,
    config: Config | Mapping[str, Setting] | None = None,
    jobs: int = 0,
    device: str = "auto",
    executor: ExecutorKind = "local",
    ray_address: str = "",
    progress: Progress = NoProgress(),
) -> ComparisonReport:
    """Compare recurrent cells on a text, with equal budgets and each with its recipe.

    A comparison that was stopped continues; more cells, seeds or trials reuse what is done.

    Args:
        corpus: A corpus, or files, directories or names of built-in corpora.
        cells: Names of cells, or FILE.py:CLASS, whose file is executed; a sequence, or a text
            with commas.
        parameters: Parameters of every model; with another `match`, of the LSTM that defines the
            budget.
        seeds: Runs per cell; a verdict needs 6.
        first_seed: Seed of the first run of each cell; the others follow.
        out: Directory of the comparison.
        minutes: Minutes that all of it may take, in place of another budget; 0: no limit.
        reference: Cell that the others are compared with; default: the GRU, else the first cell
            with gates, else the first.
        match: "params", "flops", "state" or "time".
        margin: Smallest relevant difference in bits per character.
        trials: Tuning trials per cell and seed; 0: each cell has its recipe.
        lr_range: Learning rates of the trials; default: "1e-3..4e-2".
        baselines: "all", "none", or names as of cells; "transformer" is trained, and not in "all".
        memory: Whether the memory of every run is measured.
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
        first_seed=first_seed,
        minutes=minutes,
        reference=reference,
        margin=margin,
        trials=trials,
        lr_range=lr_range,
        baselines=parse_baselines(baselines),
        memory=memory,
    )
    times_cells = match == "time" or bool(minutes)
    validate_executor(executor, ray_address, times_cells=times_cells)
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
) -> tuple[tuple[str, ...], dict[str, Setting]]:
    """Return the sources of a text, and the settings that it was read with."""
    if isinstance(corpus, Corpus):
        if "-" in corpus.record.sources:
            raise ConfigError(
                "cannot compare on a corpus from standard input: every run reads it again. "
                "Try a file"
            )
        return corpus.record.sources, dict(corpus.settings)
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
    timed = time_remaining_work(plan, execution)
    on_plan(describe_plan(plan, resources, timed))

    baselines = measure_baselines(
        plan.corpus,
        execution.directory,
        request.measured_baselines,
        characters_read=plan.characters,
    )
    tuning = tune(plan, execution)
    entries = tuned_entries(plan, tuning)
    train(plan, entries, timed.speeds, execution)
    probes = measure_memory(entries, execution) if request.memory else None

    outcomes = load_outcomes(entries)
    findings = Findings(
        memory=_judged_memory(plan, entries, execution, probes),
        budget=build_budget(plan, entries),
        ngram_memory=ngram_memory(plan.corpus, NGRAM_LENGTHS, execution.directory)
        if request.memory and NGRAM in request.baselines
        else (),
        baselines=tuple(baselines),
        tuning=tuning,
        notes=inspect_text(plan.corpus),
        linear_cells=plan.linear_cells,
        bare_linear_cells=plan.bare_linear_cells,
    )
    report = build_report(
        "text",
        entries,
        outcomes,
        findings,
        matching=plan.matching,
        reference=plan.reference,
        margin=request.margin,
    )
    cpu = break_down_cpu(execution.directory, entries, outcomes, probes)
    timing = build_timing_report(outcomes, command, cpu)
    result = build_result(report, timing, entries, execution.directory, probes)
    write_reports(execution.directory, result)
    return result


def train(
    plan: ComparisonPlan,
    entries: Sequence[Entry],
    speeds: Speeds,
    execution: Execution,
) -> None:
    """Train all runs and those of the bracket, the longest first."""
    work = [PlannedWork(entry, "run", run) for entry, run in by_seed(entries)]
    work += bracket_work(plan)
    seconds = {name: speed.seconds_per_step for name, speed in speeds.items()}
    run_jobs(order_jobs(work, seconds, plan.texts), execution)


def _judged_memory(
    plan: ComparisonPlan,
    entries: Sequence[Entry],
    execution: Execution,
    probes: ProbesReport | None,
) -> MemoryReport:
    """Return the memory of all entries, or why none was measured."""
    if not plan.request.memory:
        return no_memory("disabled")
    if probes is None:
        return no_memory("diverged")
    return judge_memory(entries, execution.directory, plan.reference, plan.corpus.unit_kind("test"))


class TimedWork(NamedTuple):
    """Speed of entries, and what is left to do; empty where nothing is timed."""

    speeds: Speeds = {}
    estimate: CostEstimate | None = None


def time_remaining_work(plan: ComparisonPlan, execution: Execution) -> TimedWork:
    """Time each entry for a moment; nothing in a cluster, or where all runs have ended."""
    executor = execution.executor
    is_done = all(work.progress().status for work in planned_work(plan))
    if is_done or not isinstance(executor, LocalExecutor):
        return TimedWork()
    with execution.progress.counter("timing each entry") as count:
        speeds = measure_speeds(plan.entries, plan.corpus, executor.device, count)
    startup = measure_startup_time(executor.device)
    estimate = estimate_cost(plan, execution.directory, executor, speeds, startup)
    return TimedWork(speeds, estimate)


def dry_run(
    request: ComparisonRequest,
    out: Path,
    *,
    device: str = "auto",
    jobs: int = 0,
    progress: Progress = NoProgress(),
) -> CostEstimate:
    """Estimate what a comparison will take; train nothing but a moment of each cell.

    Nothing is written. What the directory of the comparison has already counts as done.

    Args:
        request: What would be compared.
        out: Directory of the comparison, which need not exist.
        device: Device of the runs.
        jobs: Runs in parallel; 0: one per core.
        progress: Receives progress.

    Raises:
        ConfigError: The text is standard input, which could not be read again.
    """
    if "-" in request.texts:
        raise ConfigError(
            "cannot use --dry-run with standard input: it could not be read again. Try a file"
        )
    check_comparison_dir(out, "text")
    local_device, _ = select_device(device, 1)
    executor = LocalExecutor(jobs or available_cores(), local_device)
    execution = Execution(out, executor, progress)
    plan = plan_comparison(request, execution, writes=False)
    with progress.counter("timing each entry") as count:
        speeds = measure_speeds(plan.entries, plan.corpus, local_device, count)
    return estimate_cost(plan, out, executor, speeds, measure_startup_time(local_device))


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
    disk = sum(estimate_disk(work) for work in remaining)
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


def describe_plan(
    plan: ComparisonPlan, resources: CheckedResources, timed: TimedWork
) -> ComparisonOverview:
    """Return what is shown of a plan before its first run."""
    execution = resources.execution
    return ComparisonOverview(
        corpus=plan.corpus.record,
        vocabulary_size=plan.corpus.vocabulary.size,
        vocabulary_kind=plan.corpus.vocabulary.kind,
        matching=plan.matching,
        entries=tuple(
            entry.summary(
                timed.speeds[entry.name].seconds_per_step if entry.name in timed.speeds else None
            )
            for entry in plan.entries
        ),
        runs=len(by_seed(plan.entries)) + len(bracket_work(plan)),
        config=plan.entries[0].runs[0].config,
        reference=plan.reference,
        search=describe_search(plan),
        parallel_runs=execution.executor.capacity(),
        memory_limits_parallel=resources.memory_limits_parallel,
        device=execution.executor.description,
        out=str(execution.directory),
        insufficient=plan.insufficient,
        remaining=timed.estimate.remaining if timed.estimate else None,
        linear_cells=plan.linear_cells,
        bare_linear_cells=plan.bare_linear_cells,
    )
