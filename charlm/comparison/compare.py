"""Comparison of cells on a text: plan, train, bracket, probe, judge and report.

`compare` is the function of the Python API. `run_comparison` does the work, and reads as a table
of contents: every step takes and returns typed values.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from charlm.comparison.budget_report import build_budget
from charlm.comparison.directory import initialize_comparison_dir, open_comparison
from charlm.comparison.entries import Entry, by_seed
from charlm.comparison.memory import MemoryReport, judge_memory, measure_memory, no_memory
from charlm.comparison.memory_profile import (
    build_profiles,
    describe_tasks,
    read_profiled_tasks,
)
from charlm.comparison.outcomes import load_outcomes
from charlm.comparison.plan import ComparisonPlan, plan_comparison
from charlm.comparison.preparation import check_resources, describe_plan, time_remaining_work
from charlm.comparison.report import (
    Findings,
    build_report,
    build_result,
    write_reports,
)
from charlm.comparison.request import (
    ComparisonRequest,
    parse_baselines,
    parse_names,
    settings_of,
    validate_executor,
)
from charlm.comparison.settings_file import (
    ComparisonArguments,
    read_comparison_file,
    without_overridden_budget,
)
from charlm.comparison.throughput import Speeds
from charlm.comparison.timing import break_down_cpu, build_timing_report
from charlm.comparison.tuning import tune, tuned_entries
from charlm.comparison.work import PlannedWork, bracket_work, order_jobs
from charlm.config import Config
from charlm.data.corpus import Corpus
from charlm.data.sources import make_paths_absolute
from charlm.data.text_notes import inspect_text
from charlm.errors import ConfigError
from charlm.evaluation.baselines import measure_baselines, ngram_memory
from charlm.execution.executor import Execution, ExecutorKind, run_jobs
from charlm.progress import NoProgress, Progress, ignore
from charlm.results.comparison import ComparisonReport, ComparisonResult
from charlm.results.comparison_plan import ComparisonOverview, Measure
from charlm.results.probes import ProbesReport
from charlm.settings.values import Setting

NGRAM = "n-gram"
NGRAM_LENGTHS = 1, 2, 4, 8, 16, 64, 256, 1024  # characters of context, of its memory


def compare(
    corpus: Corpus | str | Path | Sequence[str | Path],
    cells: str | Sequence[str] | None = None,
    *,
    parameters: int | None = None,
    seeds: int | None = None,
    first_seed: int = 0,
    out: str | Path | None = None,
    minutes: float | None = None,
    reference: str | None = None,
    match: Measure | None = None,
    margin: float | None = None,
    trials: int | None = None,
    lr_range: str | None = None,
    baselines: str | Sequence[str] | None = None,
    memory: bool | None = None,
    tasks: str | Path | Sequence[str | Path] | None = None,
    config: Config | Mapping[str, Setting] | str | Path | None = None,
    jobs: int | None = None,
    device: str | None = None,
    executor: ExecutorKind | None = None,
    ray_address: str | None = None,
    progress: Progress = NoProgress(),
) -> ComparisonReport:
    """Compare recurrent cells on a text, with equal budgets and each with its recipe.

    A comparison that was stopped continues; more cells, seeds or trials reuse what is done. What is
    None is taken from the file that `config` names, else it has its default.

    Args:
        corpus: A corpus, or files, directories or names of built-in corpora.
        cells: Names of cells, or FILE.py:CLASS, whose file is executed; a sequence, or a text
            with commas; default: "gru,lstm,rnn".
        parameters: Parameters of every model; with another `match`, of the LSTM that defines the
            budget; default: 100,000.
        seeds: Runs per cell; default: 6, which a verdict needs.
        first_seed: Seed of the first run of each cell; the others follow.
        out: Directory of the comparison; default: "comparison".
        minutes: Minutes that all of it may take, in place of another budget; default: 0, no limit.
        reference: Cell that the others are compared with; default: the GRU, else the first cell
            with gates, else the first.
        match: "params", "flops", "state" or "time"; default: "params".
        margin: Smallest relevant difference in bits per character; default: 0.01.
        trials: Tuning trials per cell and seed; default: 0, each cell has its recipe.
        lr_range: Learning rates of the trials; default: "1e-3..4e-2".
        baselines: "all", "none", or names as of cells; default: those that take seconds.
            "transformer" is trained, and not in "all".
        memory: Whether the memory of every run is measured; default: True.
        tasks: Directories of finished comparisons on a task, which the memory profile takes a part
            from: recall-pairs, a word problem, anbn or anbncn; default: none.
        config: Settings that all runs share: a mapping of fields of `Config`, or a `Config`,
            whose cell, hidden size, seed, minutes, final_eval and device do not count. Or the
            path of a file, as `compare-cells --config` takes it: it also gives the arguments that
            are None here. Its text does not count.
        jobs: Runs in parallel; default: 0, one per core.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps"; default: "auto".
        executor: "local" or "ray"; default: "local".
        ray_address: HOST:PORT of the Ray cluster.
        progress: Receives progress.

    Returns:
        The report, which is also written to `out`, with all runs.

    Raises:
        ConfigError: The arguments contradict each other.
        Interrupted: A signal came; everything is saved.
    """
    arguments: dict[str, Any] = {
        "cells": None if cells is None else tuple(parse_names(cells)),
        "params": parameters,
        "seeds": seeds,
        "out": None if out is None else str(out),
        "minutes": minutes,
        "reference": reference,
        "match": match,
        "margin": margin,
        "trials": trials,
        "lr_range": lr_range,
        "baselines": None if baselines is None else parse_baselines(baselines),
        "memory": memory,
        "tasks": None if tasks is None else _paths_of(tasks),
        "jobs": jobs,
        "device": device,
        "executor": executor,
        "ray_address": ray_address,
    }
    given = {name: value for name, value in arguments.items() if value is not None}
    if isinstance(config, str | Path):
        file = read_comparison_file(Path(config))
        settings = without_overridden_budget(file.settings, minutes, file)
        chosen = ComparisonArguments(**{**file.arguments, **given})
    else:
        settings = settings_of(config)
        chosen = ComparisonArguments(**given)
    texts, corpus_settings = _texts_of(corpus)
    request = ComparisonRequest(
        texts=texts,
        cells=chosen.cells,
        settings=make_paths_absolute({**corpus_settings, **settings, "device": chosen.device}),
        params=chosen.params,
        match=chosen.match,
        seeds=chosen.seeds,
        first_seed=first_seed,
        minutes=chosen.minutes,
        reference=chosen.reference,
        margin=chosen.margin,
        trials=chosen.trials,
        lr_range=chosen.lr_range,
        baselines=chosen.baselines,
        memory=chosen.memory,
        tasks=chosen.tasks,
    )
    times_cells = request.match == "time" or bool(request.minutes)
    validate_executor(chosen.executor, chosen.ray_address, times_cells=times_cells)
    with open_comparison(
        Path(chosen.out),
        "text",
        executor=chosen.executor,
        ray_address=chosen.ray_address,
        device=chosen.device,
        jobs=chosen.jobs,
        progress=progress,
    ) as execution:
        return run_comparison(request, execution).report


def _paths_of(paths: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    """Return a path, or several, as texts."""
    return tuple(map(str, [paths] if isinstance(paths, str | Path) else paths))


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
    return _paths_of(corpus), {}


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
    tasks = read_profiled_tasks(request.tasks, plan.entries)
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
        profiles=build_profiles(
            entries,
            execution.directory if probes else None,
            plan.corpus.unit_kind("test"),
            tasks,
        ),
        profiled_tasks=describe_tasks(tasks, entries),
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
