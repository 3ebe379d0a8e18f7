"""Longer budget of a run: a new run goes on from the state before the learning rate decayed.

With the schedule wsd, a run does not depend on its budget before its decay. So the longer run is
the one that would have had this budget from its first step, to the bit.
"""

import hashlib
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from charlm.config import BUDGETS, Config, option_name, validate_config
from charlm.data.corpus import Corpus
from charlm.errors import ConfigError
from charlm.recipes import apply_recipe
from charlm.results.run import RunRecord
from charlm.results.run_start import LongerBudget
from charlm.results.training import (
    BranchMetrics,
    Metrics,
    RunEvent,
    TrainingProgress,
    ValidationMetrics,
)
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.checkpoint_files import BEFORE_DECAY, list_checkpoints
from charlm.runs.creation import RunStart
from charlm.runs.metrics import check_metrics_before, iter_events, iter_metrics
from charlm.runs.run import Run, is_run
from charlm.settings.values import Setting, limit_warmup
from charlm.storage.append_only_log import seal_line
from charlm.training.budget import resolve_max_steps
from charlm.training.estimates import measure_timings
from charlm.training.schedule import branch_steps


class Extension(NamedTuple):
    """A run and the longer one that goes on from it.

    Attributes:
        run: Run; its own cell is loaded.
        config: Its settings with the larger budget.
    """

    run: Run
    config: Config


def requested_budget(recorded: Config, overrides: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return the budget of a resumed run if it is another than that of the run, else {}."""
    given = {name: overrides[name] for name in BUDGETS if overrides.get(name)}
    own = {name: getattr(recorded, name) for name in BUDGETS if getattr(recorded, name)}
    return {} if given == own else given


def without_budget(overrides: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return the overrides that are no budget."""
    return {name: value for name, value in overrides.items() if name not in BUDGETS}


def longer_run_dir(run_dir: Path, budget: Mapping[str, Setting]) -> Path:
    """Return the default directory of a longer run, such as runs/first-4000-steps."""
    ((name, value),) = budget.items()
    noun = name.removeprefix("max_")
    number = int(value) if float(value).is_integer() else value
    absolute = Path(os.path.abspath(run_dir))  # such as of "." and ".."
    parent = run_dir.parent if run_dir.name not in ("", "..") else absolute.parent
    return parent / f"{absolute.name}-{number}-{noun}"


def is_extension(path: Path, run: Run, config: Config) -> bool:
    """Return whether a directory is a run that goes on from this run with this budget."""
    if not is_run(path):
        return False
    record = Run(path).record
    budgets = [(getattr(record.config, name), getattr(config, name)) for name in BUDGETS]
    return (
        record.extends is not None
        and record.extends.record_sha256 == record_sha256(run)
        and all(recorded == wanted for recorded, wanted in budgets)
    )


def record_sha256(run: Run) -> str:
    """Return the SHA-256 of the `run.json` of a run."""
    return hashlib.sha256(run.metadata["run.json"]).hexdigest()


def plan_extension(run: Run, config: Config, budget: Mapping[str, Setting]) -> Extension:
    """Return the settings of a run with a larger budget.

    Args:
        run: Run that it goes on from.
        config: Settings of that run as they are now.
        budget: Budget of the whole longer run; in minutes, of the command.

    Raises:
        ConfigError: The learning rate of the run depends on its budget from the first step on, or
            it diverged.
    """
    shown = " ".join(f"{option_name(name)} {value}" for name, value in budget.items())
    if config.lr_schedule != "wsd":
        raise ConfigError(
            f"cannot train {run.path} with {shown}: its learning rate decays over the whole budget "
            f"({config.lr_schedule}), so that none of its steps is one of a longer run. Try "
            f"--init-from {run.path}, which starts the schedule again"
        )
    if run.diverged:
        raise ConfigError(
            f"cannot train {run.path} with {shown}: it diverged. Try a new run with a lower "
            "--learning-rate"
        )
    settings = {
        **msgspec.structs.asdict(config),
        **dict.fromkeys(BUDGETS, 0),
        **budget,
        "branches": "",  # parts of the other budget
        "warmup_steps": limit_warmup(config.warmup_steps, run.record.max_steps),
    }
    return Extension(run, validate_config(settings))


def extend_run(
    extension: Extension, corpus: Corpus, device: str, started: float
) -> tuple[RunRecord, RunStart]:
    """Return the record of the longer run, and what it starts from.

    Args:
        extension: Run and settings.
        corpus: Text of the run.
        device: Resolved device.
        started: Monotonic time from which a budget in minutes counts.

    Raises:
        ConfigError: The budget is not larger, or the state before the decay was not kept.
        DataError: That state is damaged, or lines of the metrics are missing.
    """
    run, config = extension
    state = load_state_before_decay(run)
    start_step = state.progress.step
    if config.minutes:
        timings = measure_timings(config, corpus, run.record.kernel, device)
        remaining = 60 * config.minutes - (time.monotonic() - started)
        max_steps = start_step + timings.steps_within(remaining, config, corpus)
    else:
        max_steps = resolve_max_steps(config, corpus.stored_split("train"))
    if max_steps <= run.record.max_steps:
        rest = "" if run.report else ", or no budget, with which the stopped run goes on"
        raise ConfigError(
            f"cannot train {run.path} with a budget of {max_steps:,} steps: it has "
            f"{run.record.max_steps:,}, and a budget can only be raised. Try a larger one{rest}"
        )
    record = msgspec.structs.replace(
        run.record,
        config=config,
        max_steps=max_steps,
        extends=LongerBudget(
            run=os.path.abspath(run.path),
            record_sha256=record_sha256(run),
            weights_sha256=state.sha256,
            start_step=start_step,
            max_steps=run.record.max_steps,
            decay_start=branch_steps(max_steps)[0],
            recipe_rate=apply_recipe(
                msgspec.structs.replace(config, learning_rate=0.0),
                run.record.parameters,
                max_steps * config.batch_size * config.seq_len,
            ).learning_rate,
            redone_steps=steps_done(run) - start_step,
        ),
    )
    metrics = metrics_before(run, state.progress, max_steps)
    valid_bits = state.progress.valid_bits
    progress = msgspec.structs.replace(
        state.progress,
        metrics_bytes=len(metrics),
        # Checkpoints before this one are not taken over, so none of them can be the best one.
        best_step=None if valid_bits is None else start_step,
        best_bits=valid_bits,
    )
    events = [event for event in iter_events(run.path) if event.step <= start_step]
    logs = {"metrics.jsonl": metrics, "events.jsonl": encode_lines(events)}
    return record, RunStart(progress, state.tensors, logs)


def is_extendable(run: Run) -> bool:
    """Return whether a finished run can get a larger budget: it has a state to go on from."""
    is_constant = run.record.config.lr_schedule == "wsd"
    return is_constant and bool(list_checkpoints(run.path, BEFORE_DECAY))


def steps_done(run: Run) -> int:
    """Return the steps of a run up to its end, or to its last checkpoint."""
    return run.record.max_steps if run.report else max(run.checkpoints, default=0)


def load_state_before_decay(run: Run) -> Checkpoint:
    """Return the newest state of a run at which its learning rate has not decayed.

    Raises:
        ConfigError: None was kept.
        DataError: It is damaged.
    """
    decay_start, _ = branch_steps(run.record.max_steps)
    if run.report is None and 0 < max(run.checkpoints, default=0) <= decay_start:
        return run.load_checkpoint("last")
    if state := run.load_before_decay():
        return state
    if run.report is None and list_checkpoints(run.path).keys() <= {0}:
        raise ConfigError(
            f"cannot give {run.path} a longer budget: it has no checkpoint yet. Try a new run: "
            f"charlm train --config {run.path} with this budget"
        )
    raise ConfigError(
        f"cannot give {run.path} a longer budget: the state before its learning rate decayed was "
        f"not kept (--keep state). Try --init-from {run.path}, or --config {run.path} for a new run"
    )


def metrics_before(run: Run, progress: TrainingProgress, max_steps: int) -> bytes:
    """Return the metrics of a run up to a step, as a longer run would have recorded them.

    What the run itself reached after its decay is a branch of the longer run, and parts of the
    budget are parts of the longer one.

    Raises:
        DataError: Lines are missing.
    """
    check_metrics_before(run.path, progress)
    lines: list[Metrics] = []
    start_step, budget = progress.step, run.record.max_steps
    last_bits = math.nan
    for metrics in iter_metrics(run.path):
        if isinstance(metrics, ValidationMetrics) and metrics.step == budget:
            last_bits = metrics.valid_bits
        if isinstance(metrics, BranchMetrics):
            begin, _ = branch_steps(metrics.step)
            if begin <= start_step:
                lines.append(msgspec.structs.replace(metrics, fraction=metrics.step / max_steps))
        elif metrics.step <= start_step:
            lines.append(metrics)
    if run.report and math.isfinite(last_bits):
        characters = budget * run.record.config.batch_size * run.record.config.seq_len
        lines.append(BranchMetrics(budget / max_steps, budget, characters, last_bits))
    return encode_lines(lines)


def encode_lines(items: Sequence[Metrics | RunEvent]) -> bytes:
    """Return items as lines of a log."""
    return b"".join(seal_line(msgspec.json.encode(item)) for item in items)
