"""Training loop: a generator of events, which the caller shows or ignores."""

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress

import msgspec
import torch

from charlm.data.batches import BatchSampler
from charlm.data.corpus import Corpus
from charlm.errors import DivergedError, StorageError
from charlm.evaluation.scoring import validation_bpc
from charlm.models.char_lm import CharLM
from charlm.results.training import (
    BranchMetrics,
    BranchStep,
    CheckpointSaved,
    EventName,
    RunEvent,
    TrainingEvent,
    ValidationMetrics,
)
from charlm.runs.run import Run
from charlm.storage.append_only_log import AppendOnlyLog, DiscardedLog
from charlm.training.branches import Branch, plan_branches
from charlm.training.budget import validation_interval
from charlm.training.schedule import branch_steps
from charlm.training.trainer import Trainer


def run_training_loop(
    run: Run,
    trainer: Trainer[CharLM],
    corpus: Corpus,
    metrics_bytes: int = 0,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[TrainingEvent]:
    """Train until the budget is used up, or until `stop` returns True.

    It stops after a whole step, and saves a checkpoint first. Metrics are in `metrics.jsonl` before
    they are yielded, and a checkpoint contains all that were yielded before. The caller must
    exhaust the generator.

    Args:
        run: Run directory, which the caller has locked.
        trainer: New, or restored from the run's last checkpoint.
        corpus: Text of the run.
        metrics_bytes: Length of `metrics.jsonl` at that checkpoint; the rest is cut off.
        stop: Is called after every step.

    Raises:
        DivergedError: The loss, its gradient or the validation is not finite.
        ConfigError: The budget is too small for the branches.
    """
    config, max_steps, group = trainer.config, trainer.max_steps, trainer.process_group
    interval = validation_interval(config, max_steps)
    branches = {branch.start: branch for branch in plan_branches(config, max_steps)}
    decay_start, _ = branch_steps(max_steps)
    keeps_state = config.keep != "weights" and config.lr_schedule == "wsd" and decay_start > 0
    device = str(trainer.model.bias.device)
    batches = BatchSampler(
        corpus.stored_split("train"), config.batch_size, config.seq_len, config.seed, device
    )
    with (
        closing(_open_log(run, "metrics.jsonl", group.is_main)) as metrics_log,
        closing(_open_log(run, "events.jsonl", group.is_main)) as event_log,
    ):
        metrics_log.truncate(metrics_bytes)
        start = _event("started" if trainer.step == 0 else "resumed", trainer)
        start = msgspec.structs.replace(
            start,
            device=device,
            threads=torch.get_num_threads(),
            kernel=trainer.model.kernel,
            processes=group.size,
        )
        event_log.append(msgspec.json.encode(start))
        last_save, saved_step = time.monotonic(), trainer.step
        valid_bits: float | None = None

        def save() -> CheckpointSaved:
            nonlocal last_save, saved_step
            trainer.stop_updates()
            tensors = trainer.state_tensors()
            if group.is_main:
                run.save_checkpoint(trainer.progress(metrics_log.sync(), valid_bits), tensors)
            last_save, saved_step = time.monotonic(), trainer.step
            event_log.append(msgspec.json.encode(_event("checkpointed", trainer)))
            return CheckpointSaved(trainer.step)

        def save_before_error() -> Iterator[CheckpointSaved]:
            # The cached text cannot be read. Other processes may wait for this one.
            if trainer.step != saved_step and group.size == 1:
                yield save()

        while trainer.step < max_steps:
            if keeps_state and trainer.step == decay_start:
                tensors = trainer.state_tensors()
                if group.is_main:
                    progress = trainer.progress(metrics_log.sync(), valid_bits)
                    run.save_before_decay(progress, tensors)

            # A checkpoint of this step is always one from before the branch. So a resumed run
            # repeats the whole branch.
            if branch := branches.get(trainer.step):
                trainer.stop_updates()
                result = yield from _run_branch(trainer, branch, batches, corpus, stop)
                if result is None:
                    if trainer.step != saved_step:
                        yield save()
                    event_log.append(msgspec.json.encode(_event("interrupted", trainer)))
                    return
                metrics_log.append(msgspec.json.encode(result))
                event_log.append(msgspec.json.encode(_event("branched", trainer)))
                yield result

            trainer.start_updates()
            try:
                batch = batches[trainer.step]
            except StorageError:
                yield from save_before_error()
                raise
            metrics = trainer.train_step(batch)
            metrics_log.append(msgspec.json.encode(metrics))
            yield metrics

            is_last = metrics.step == max_steps
            valid_bits, is_best = None, False
            if metrics.step % interval == 0 or is_last:
                trainer.stop_updates()
                try:
                    valid_bits = _validate(trainer, corpus)
                except StorageError:
                    yield from save_before_error()
                    raise
                is_best = trainer.best is None or valid_bits < trainer.best[1]
                if is_best:
                    trainer.best = metrics.step, valid_bits
                validation = ValidationMetrics(metrics.step, metrics.characters, valid_bits)
                metrics_log.append(msgspec.json.encode(validation))
                event_log.append(msgspec.json.encode(_event("validated", trainer)))
                yield validation

            stopping = group.any(stop())
            is_due = group.any(group.is_main and time.monotonic() - last_save >= config.save_every)
            if is_best or is_due or stopping or is_last:
                yield save()
            if stopping:
                event_log.append(msgspec.json.encode(_event("interrupted", trainer)))
                return


def _run_branch(
    trainer: Trainer[CharLM],
    branch: Branch,
    batches: BatchSampler,
    corpus: Corpus,
    stop: Callable[[], bool],
) -> Generator[BranchStep, None, BranchMetrics | None]:
    """Train and validate a decayed copy, and leave the trainer as it was.

    Yields:
        Each step of the copy.

    Returns:
        Its result, or None if `stop` returned True.
    """
    bits: float | None = None
    with trainer.branch(branch.end), suppress(DivergedError):  # the run itself may go on well
        while trainer.step < branch.end:
            if trainer.process_group.any(stop()):
                return None
            trainer.train_step(batches[trainer.step])
            yield BranchStep(trainer.step - branch.start, branch.end - branch.start)
        bits = _validate(trainer, corpus)
    characters = branch.end * trainer.config.batch_size * trainer.config.seq_len
    return BranchMetrics(float(branch.fraction), branch.end, characters, bits)


def _validate(trainer: Trainer[CharLM], corpus: Corpus) -> float:
    """Return bits per token of the subsampled validation split; rank 0 computes it for all."""
    group = trainer.process_group
    bits, start = None, time.process_time()
    if group.is_main:
        bits = validation_bpc(trainer.model, corpus.stored_split("valid"), corpus.vocabulary)
    bits = group.broadcast_value(bits)
    trainer.add_cpu("looks", time.process_time() - start)
    if not math.isfinite(bits):
        raise DivergedError(
            f"step {trainer.step}: validation gives {bits} bits. The last good checkpoint is "
            "kept. Try a lower --learning-rate or --grad-clip"
        )
    return bits


def _open_log(run: Run, name: str, is_main: bool) -> AppendOnlyLog:
    """Open a log of the run; only rank 0 writes it."""
    return AppendOnlyLog(run.path / name) if is_main else DiscardedLog()


def _event(name: EventName, trainer: Trainer[CharLM]) -> RunEvent:
    return RunEvent(
        time=round(time.time(), 3),
        event=name,
        step=trainer.step,
        seconds=round(trainer.seconds, 3),
    )
