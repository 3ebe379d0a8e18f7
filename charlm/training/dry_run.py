"""Dry runs of training: the summary of a new run, or its resolved settings, without training."""

from pathlib import Path
from typing import NamedTuple

from charlm.config import Config
from charlm.data.corpus import Corpus, Sources
from charlm.execution.device import select_device
from charlm.progress import NoProgress, Progress
from charlm.results.run import DeviceReason, RunRecord, RunSummary
from charlm.runs.creation import check_not_existing
from charlm.runs.run import Run
from charlm.training.checks import check_config, import_cell, load_given_corpus
from charlm.training.clock import Clock
from charlm.training.initial_weights import WeightSource, find_weight_source, plan_run_from
from charlm.training.planning import RunPlan, plan_run, summarize_run
from charlm.training.session import default_run_dir


def plan_training(
    corpus: Corpus | Sources,
    config: Config | str | Path | None = None,
    run_dir: str | Path | None = None,
    *,
    init_from: WeightSource | Run | str | Path | None = None,
    progress: Progress = NoProgress(),
    started: float | None = None,
) -> RunSummary:
    """Return the summary of a new run, with measured step time and memory; train nothing.

    Args:
        corpus: Text, or its sources as `load_corpus` takes them.
        config: As for `train`.
        run_dir: Directory that the run would have.
        init_from: As for `train`.
        progress: Receiver of progress.
        started: As for `train`.
    """
    clock = Clock.at(started)
    source = find_weight_source(init_from, config)
    config = check_config(source.config if source else config, corpus)
    path = Path(run_dir) if run_dir is not None else default_run_dir(config)
    check_not_existing(path)
    planned = _plan(corpus, config, source, progress, clock)
    return summarize_run(
        path,
        planned.plan,
        planned.plan.record.config,
        planned.corpus,
        planned.device,
        planned.device_reason,
        elapsed=clock.elapsed(),
    )


def resolve_settings(
    corpus: Corpus | Sources,
    config: Config | str | Path | None = None,
    *,
    init_from: WeightSource | Run | str | Path | None = None,
    progress: Progress = NoProgress(),
) -> RunRecord:
    """Return what `run.json` of a new run would hold: its settings with recipe and budget.

    Args:
        corpus: Text, or its sources as `load_corpus` takes them.
        config: As for `train`. For a budget in minutes, steps are timed.
        init_from: As for `train`.
        progress: Receiver of progress.
    """
    clock = Clock.at(None)
    source = find_weight_source(init_from, config)
    config = check_config(source.config if source else config, corpus)
    return _plan(corpus, config, source, progress, clock).plan.record


class _Planned(NamedTuple):
    plan: RunPlan
    corpus: Corpus
    device: str
    device_reason: DeviceReason


def _plan(
    corpus: Corpus | Sources,
    config: Config,
    source: WeightSource | None,
    progress: Progress,
    clock: Clock,
) -> _Planned:
    import_cell(config)
    device, device_reason = select_device(config.device, config.threads, config.dtype)
    if source is None:
        text = load_given_corpus(corpus, config, progress)
        plan = plan_run(config, text, device, clock.wall)
    else:
        text = load_given_corpus(corpus, config, progress, source.first_tokens)
        plan = plan_run_from(source, config, text, device, clock.wall)
    return _Planned(plan, text, device, device_reason)
