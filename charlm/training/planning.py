"""Plan of a run: its settings, budget and kernel resolved, and what it will take."""

import os
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch

from charlm.cells import loader
from charlm.config import DEFAULT_CHARACTERS, FORMAT_VERSION, MEASURED_THREADS, Config
from charlm.data.corpus import Corpus
from charlm.data.text_notes import inspect_text
from charlm.execution.machine import current_environment
from charlm.models.build import select_kernel
from charlm.models.cost import count_parameters_and_state, estimate_training_memory
from charlm.recipes import apply_recipe
from charlm.results.run import (
    DeviceReason,
    KernelReason,
    RunRecord,
    RunSummary,
    ThreadTiming,
)
from charlm.runs.run import Run
from charlm.training.branches import plan_branches
from charlm.training.budget import check_fits_memory, resolve_max_steps
from charlm.training.distributed import per_process_config
from charlm.training.estimates import (
    EXIT_SECONDS,
    RunTimings,
    estimate_run_disk,
    measure_timings,
)
from charlm.training.thread_choice import fastest_threads, time_threads

# Share of a budget in minutes for which its steps are timed, and the most seconds.
TIMING_SHARE, MAX_TIMING_SECONDS = 0.05, 3.0


class RunPlan(NamedTuple):
    """Record of a new run, and the timings that budget and threads were derived from, if any."""

    record: RunRecord
    timings: RunTimings | None = None
    thread_timings: tuple[ThreadTiming, ...] = ()  # that its number of threads was chosen by


def plan_run(config: Config, corpus: Corpus, device: str, started: float | None = None) -> RunPlan:
    """Resolve recipe, threads, budget and kernel of a new run.

    Args:
        config: Settings.
        corpus: Text.
        device: Resolved device.
        started: Monotonic time from which a budget in minutes counts; default: now.

    Raises:
        ConfigError: The budget is too small.
        InsufficientMemoryError: The model does not fit.
    """
    started = time.monotonic() if started is None else started
    requested, vocabulary_size = config, corpus.vocabulary.size
    parameters, state_size = count_parameters_and_state(requested, vocabulary_size)
    # The batch of a recipe decides the steps of the budget, and the budget decides the rate.
    config = apply_recipe(requested, parameters, DEFAULT_CHARACTERS)
    check_fits_memory(config, vocabulary_size, device)
    thread_timings: tuple[ThreadTiming, ...] = ()
    if config.threads == MEASURED_THREADS:
        thread_timings = time_threads(config, corpus, device)
        threads = fastest_threads(thread_timings)
        torch.set_num_threads(threads)
        requested = msgspec.structs.replace(requested, threads=threads)
        config = msgspec.structs.replace(config, threads=threads)
    kernel, kernel_reason = select_kernel(config, device)
    timings = None
    if config.minutes:
        budget = min(MAX_TIMING_SECONDS, TIMING_SHARE * 60 * config.minutes)
        timings = measure_timings(config, corpus, kernel, device, budget)
        remaining = 60 * config.minutes - (time.monotonic() - started)
        max_steps = timings.steps_within(remaining, config, corpus)
    else:
        max_steps = resolve_max_steps(config, corpus.stored_split("train"))
    config = apply_recipe(requested, parameters, max_steps * config.batch_size * config.seq_len)
    plan_branches(config, max_steps)  # raises if they do not fit
    record = RunRecord(
        format=FORMAT_VERSION,
        config=config,
        text=corpus.record,
        max_steps=max_steps,
        kernel=kernel,
        kernel_reason=kernel_reason,
        cell_sha256=loader.loaded_cell_sha256(config.cell),
        parameters=parameters,
        state_size=state_size,
        environment=current_environment(device, config.threads),
    )
    return RunPlan(record, timings, thread_timings)


def summarize_run(
    path: Path,
    plan: RunPlan,
    config: Config,
    corpus: Corpus,
    device: str,
    device_reason: DeviceReason,
    *,
    steps_done: int = 0,
    elapsed: float = 0.0,
) -> RunSummary:
    """Return the summary of a run before its first step.

    Args:
        path: Run directory.
        plan: Plan of the run; without timings, they are measured.
        config: Settings as they are now.
        corpus: Text.
        device: Resolved device.
        device_reason: Why it was chosen.
        steps_done: Steps of a resumed run.
        elapsed: Seconds that the command has taken so far.
    """
    record, vocabulary = plan.record, corpus.vocabulary
    kernel, kernel_reason = record.kernel, record.kernel_reason
    if config.kernel != record.config.kernel:
        kernel, kernel_reason = select_kernel(config, device)
    timings = plan.timings or measure_timings(config, corpus, kernel, device)
    rest = timings.seconds(config, record.max_steps, corpus, steps_done)
    disk = estimate_run_disk(config, record.max_steps, record.parameters, record.state_size)
    return RunSummary(
        path=os.fspath(path),
        record=record,
        config=config,
        vocabulary_size=vocabulary.size,
        vocabulary_kind=vocabulary.kind,
        seconds_per_step=timings.seconds_per_step,
        seconds=elapsed + rest + EXIT_SECONDS,
        memory_bytes=estimate_training_memory(per_process_config(config), vocabulary.size, device),
        disk_bytes=disk.finished,
        kernel=kernel,
        kernel_reason=kernel_reason,
        device=device,
        device_reason=device_reason,
        thread_timings=plan.thread_timings,
        steps_done=steps_done,
        # To whom continues a run, how its text might be split is of no use.
        notes=tuple(
            note
            for note in inspect_text(corpus)
            if note.kind != "independent_lines" or not steps_done
        ),
    )


def run_kernel(run: Run, config: Config, device: str) -> tuple[str, KernelReason]:
    """Return the kernel of a run and why it was chosen: recorded, or requested on resuming."""
    if config.kernel == run.record.config.kernel:
        return run.record.kernel, run.record.kernel_reason
    return select_kernel(config, device)
