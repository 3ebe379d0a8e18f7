"""The training loop: a generator of what happened; drawing belongs to whoever listens."""

import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import torch

from charlm import __version__, durable
from charlm.alphabet import TokenIds
from charlm.config import FORMAT_VERSION, DEFAULT_MAX_STEPS, Config
from charlm.corpus import BatchSampler, Corpus
from charlm.encoder import ProgressCallback
from charlm.errors import DataError, DivergedError
from charlm.evaluate import SUBSAMPLED_PROTOCOL, validation_bpc, evaluate
from charlm.learner import Trainer, StepMetrics
from charlm.machine import available_memory
from charlm.model import (
    CharLM,
    load_weights,
    build_char_lm,
    estimate_training_memory,
    check_memory,
    select_kernel,
    count_parameters_and_state,
)
from charlm.ranks import SINGLE_PROCESS, ProcessGroup, per_process_config
from charlm.run import RunRecord, Run, timestamp
from charlm.torchrun import world_size
from charlm.zoo import loaded_cell_sha256

DEFAULT_VALIDATIONS = 20  # of a run that was not told how often


class ValidationMetrics(msgspec.Struct, frozen=True):
    """A quick look at the validation split."""

    step: int
    characters: int
    valid_bits: float


class CheckpointSaved(msgspec.Struct, frozen=True):
    step: int


TrainingEvent = StepMetrics | ValidationMetrics | CheckpointSaved


def check_fits_memory(config: Config, corpus: Corpus, device: str) -> None:
    """Before anything is made: a model that is too large for this machine."""
    check_memory(available_memory(device), estimate_training_memory(per_process_config(config), corpus.vocabulary.size))


def resolve_max_steps(config: Config, ids: TokenIds) -> int:
    """The budget of a run on this training split, unless it is told in minutes."""
    windows = BatchSampler(ids, config.batch_size, config.seq_len, config.seed).windows
    return math.ceil(config.epochs * windows) if config.epochs else config.max_steps or DEFAULT_MAX_STEPS


def validation_interval(config: Config, updates: int) -> int:
    """So many updates apart the validation split is looked at, and after the last."""
    return config.eval_every or max(1, updates // DEFAULT_VALIDATIONS)


def create_run(path: Path, config: Config, corpus: Corpus, device: str) -> Run:
    """A run directory for these settings: here `auto` and the budget become concrete, once."""
    check_fits_memory(config, corpus, device)
    symbols, ids = corpus.vocabulary.size, corpus.split("train")
    kernel, why = select_kernel(config, device)
    updates = resolve_max_steps(config, ids)
    if config.minutes:
        each = measure_step_time(per_process_config(config), DEFAULT_MAX_STEPS, symbols, kernel, device, ids, budget=3.0)
        updates = max(1, round(config.minutes * 60 / each))
    parameters, state_size = count_parameters_and_state(config, symbols)
    made_by = {
        "charlm": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": device,
        "threads": str(config.threads),
        "processes": str(world_size()),
    }
    record = RunRecord(
        format=FORMAT_VERSION,
        config=config,
        text=corpus.record,
        max_steps=updates,
        kernel=kernel,
        kernel_reason=why,
        cell_sha256=loaded_cell_sha256(config.cell),
        parameters=parameters,
        state_size=state_size,
        environment=made_by,
    )
    return Run.create(path, record, corpus.vocabulary)


def run_kernel(run: Run, config: Config, device: str) -> tuple[str, str]:
    """The run's kernel and why it is that: as recorded, or as told when it is resumed."""
    if config.kernel == run.record.config.kernel:
        return run.record.kernel, run.record.kernel_reason
    return select_kernel(config, device)


def restore_trainer(
    run: Run, device: str, config: Config, say: Callable[[str], None], ranks: ProcessGroup = SINGLE_PROCESS
) -> tuple[Trainer[CharLM], int]:
    """The learner where the run's newest sound checkpoint left it, or new; and how many bytes of
    the metrics belong to it."""
    kernel, _ = run_kernel(run, config, device)
    model = build_char_lm(config, run.vocabulary.size, kernel, device)
    learner = Trainer(model, config, run.record.max_steps, ranks)
    if not run.checkpoints:
        return learner, 0
    checkpoint = run.load_checkpoint("last", say)
    there = run.path / "metrics.jsonl"
    if not there.exists() or there.stat().st_size < checkpoint.progress.metrics_bytes:
        raise DataError(f"{there} has lost lines that the run had: put it back, or begin another run")
    learner.load_state(checkpoint.tensors, checkpoint.progress)
    if ranks.is_main:
        run.remove_checkpoints_after(learner.step)
    return learner, checkpoint.progress.metrics_bytes


def train(
    run: Run,
    learner: Trainer[CharLM],
    corpus: Corpus,
    metrics_bytes: int = 0,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[TrainingEvent]:
    """Train to the end of the budget, or until `stop` says so: after a whole update, saved.

    Yields what happens, in order; the caller must exhaust it. Every update is on record before it
    is yielded, and a save contains all that was yielded before it.
    """
    config, updates, ranks = learner.config, learner.max_steps, learner.process_group
    every = validation_interval(config, updates)
    device, threads = str(learner.model.bias.device), torch.get_num_threads()
    batches = BatchSampler(corpus.split("train"), config.batch_size, config.seq_len, config.seed, device)
    with closing(open_log(run, "metrics", ranks)) as metrics, open_event_log(run, ranks) as event:
        metrics.truncate(metrics_bytes)
        event(
            "began" if learner.step == 0 else "resumed",
            learner,
            device=device,
            threads=threads,
            kernel=learner.model.kernel,
            processes=ranks.size,
        )
        saved = time.monotonic()
        while learner.step < updates:
            updated = learner.train_step(batches[learner.step])
            metrics.append(msgspec.json.encode(updated))
            yield updated

            valid_bits, better = None, False
            if updated.step % every == 0 or updated.step == updates:
                if ranks.is_main:
                    valid_bits = validation_bpc(learner.model, corpus.split("valid"), corpus.vocabulary)
                valid_bits = ranks.broadcast_value(valid_bits)
                if not math.isfinite(valid_bits):
                    raise DivergedError(
                        f"update {updated.step}: validation gives {valid_bits} bits. The last "
                        "good checkpoint is kept; train with a lower --learning-rate or --clip"
                    )
                better = learner.best is None or valid_bits < learner.best[1]
                if better:
                    learner.best = updated.step, valid_bits
                validated = ValidationMetrics(updated.step, updated.characters, valid_bits)
                metrics.append(msgspec.json.encode(validated))
                event("validated", learner)
                yield validated

            stopping = ranks.any(stop())
            due = ranks.any(ranks.is_main and time.monotonic() - saved >= config.save_every)
            if better or due or stopping or updated.step == updates:
                tensors = learner.state_tensors()
                if ranks.is_main:
                    run.save(learner.progress(metrics.sync(), valid_bits), tensors)
                saved = time.monotonic()
                event("saved", learner)
                yield CheckpointSaved(updated.step)
            if stopping:
                event("stopped", learner)
                return


def open_log(run: Run, name: str, ranks: ProcessGroup) -> durable.AppendOnlyLog:
    """A file of lines of the run; those of all processes but the first go nowhere."""
    return durable.AppendOnlyLog(run.path / f"{name}.jsonl" if ranks.is_main else Path(os.devnull))


@contextmanager
def open_event_log(run: Run, ranks: ProcessGroup) -> Iterator[Callable[..., None]]:
    """The run's diary: what happened when, and after how many seconds of updates."""
    with closing(open_log(run, "events", ranks)) as diary:

        def event(what: str, learner: Trainer[Any], **more: Any) -> None:
            line = {"event": what, "update": learner.step, "seconds": round(learner.seconds, 3)}
            diary.append(msgspec.json.encode({"time": timestamp(), **line, **more}))

        yield event


def iter_step_times(
    config: Config, updates: int, symbols: int, kernel: str, device: str, ids: TokenIds
) -> Iterator[float]:
    """The seconds of each real update of a scratch model."""
    learner = Trainer(build_char_lm(config, symbols, kernel, device), config, updates)
    batches = BatchSampler(ids, config.batch_size, config.seq_len, config.seed, device)
    while learner.step < updates:
        before = learner.seconds
        learner.train_step(batches[learner.step])
        yield learner.seconds - before


def measure_step_time(
    config: Config,
    updates: int,
    symbols: int,
    kernel: str,
    device: str,
    ids: TokenIds,
    budget: float = 1.0,
) -> float:
    """Times real updates of a scratch model, `budget` seconds or `updates` long: the median."""
    times: list[float] = []
    began = time.perf_counter()
    with torch.random.fork_rng(), suppress(DivergedError):  # that is for the run itself to meet
        for seconds in islice(iter_step_times(config, updates, symbols, kernel, device, ids), 50):
            times.append(seconds)
            if sum(times[1:]) >= budget:
                break
    # The first pays for what is made once; without even one, what the attempt took must do.
    return statistics.median(times[1:] or times or [time.perf_counter() - began])


def score_and_report(
    run: Run,
    corpus: Corpus,
    kernel: str,
    device: str,
    say: Callable[[str], None],
    tick: ProgressCallback = lambda _: None,
) -> dict[str, Any]:
    """Scores the best weights exactly on the final split; the report of the run, now finished."""
    record, config = run.record, run.record.config
    last = run.load_checkpoint("last", say).progress
    best = run.load_checkpoint("best", say)
    model = build_char_lm(config, run.vocabulary.size, kernel, device)
    load_weights(model, best.tensors)
    characters = record.max_steps * config.batch_size * config.seq_len
    report = {
        "format": FORMAT_VERSION,
        **record.summary(),
        "kernel": kernel,
        "updates": record.max_steps,
        "characters_read": characters,
        "seconds": last.seconds,
        "chars_per_second": characters / last.seconds,
        "best_update": best.progress.step,
        "best_valid_bits": best.progress.valid_bits,
        "valid_protocol": SUBSAMPLED_PROTOCOL,
        "weights_sha256": best.sha256,
        "split": config.final_eval,
        "score": None,
    }
    if config.final_eval != "none":
        span = corpus.record.splits[config.final_eval]
        report["score"] = evaluate(model, corpus.vocabulary, corpus.encoding, span, tick)
    run.write_report(report)
    return report
