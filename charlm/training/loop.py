"""The training loop: a generator of what happened; drawing belongs to whoever listens."""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import torch

from charlm.data.batches import BatchSampler
from charlm.data.corpus import Corpus
from charlm.errors import DivergedError
from charlm.evaluation.scoring import validation_bpc
from charlm.models.char_lm import CharLM
from charlm.results.training import CheckpointSaved, TrainingEvent, ValidationMetrics
from charlm.runs.run import Run, timestamp
from charlm.storage import files
from charlm.training.budget import validation_interval
from charlm.training.distributed import ProcessGroup
from charlm.training.trainer import Trainer


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
    batches = BatchSampler(
        corpus.split("train"), config.batch_size, config.seq_len, config.seed, device
    )
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
                    valid_bits = validation_bpc(
                        learner.model, corpus.split("valid"), corpus.vocabulary
                    )
                valid_bits = ranks.broadcast_value(valid_bits)
                if not math.isfinite(valid_bits):
                    raise DivergedError(
                        f"update {updated.step}: validation gives {valid_bits} bits. The last "
                        "good checkpoint is kept; train with a lower --learning-rate or --grad-clip"
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


def open_log(run: Run, name: str, ranks: ProcessGroup) -> files.AppendOnlyLog:
    """A file of lines of the run; those of all processes but the first go nowhere."""
    return files.AppendOnlyLog(run.path / f"{name}.jsonl" if ranks.is_main else Path(os.devnull))


@contextmanager
def open_event_log(run: Run, ranks: ProcessGroup) -> Iterator[Callable[..., None]]:
    """The run's diary: what happened when, and after how many seconds of updates."""
    with closing(open_log(run, "events", ranks)) as diary:

        def event(what: str, learner: Trainer[Any], **more: Any) -> None:
            line = {"event": what, "step": learner.step, "seconds": round(learner.seconds, 3)}
            diary.append(msgspec.json.encode({"time": timestamp(), **line, **more}))

        yield event
