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
from charlm.alphabet import Ids
from charlm.config import FORMAT, UPDATES, Config
from charlm.corpus import Batches, Corpus
from charlm.encoder import Tick
from charlm.errors import BadData, NonFinite
from charlm.evaluate import QUICK, quick_bits, score
from charlm.learner import Learner, Updated
from charlm.machine import memory_available
from charlm.model import (
    CharLM,
    load_weights,
    make,
    memory,
    refuse_more_than,
    resolve_kernel,
    size,
)
from charlm.ranks import ALONE, Ranks, of_one
from charlm.run import Record, Run, now
from charlm.torchrun import several
from charlm.zoo import sha256

VALIDATIONS = 20  # of a run that was not told how often


class Validated(msgspec.Struct, frozen=True):
    """A quick look at the validation split."""

    update: int
    characters: int
    valid_bits: float


class Saved(msgspec.Struct, frozen=True):
    update: int


Happening = Updated | Validated | Saved


def refuse_what_cannot_fit(config: Config, corpus: Corpus, device: str) -> None:
    """Before anything is made: a model that is too large for this machine."""
    refuse_more_than(memory_available(device), memory(of_one(config), corpus.alphabet.size))


def updates_of(config: Config, ids: Ids) -> int:
    """The budget of a run on this training split, unless it is told in minutes."""
    windows = Batches(ids, config.batch, config.time, config.seed).windows
    return math.ceil(config.epochs * windows) if config.epochs else config.updates or UPDATES


def looks_every(config: Config, updates: int) -> int:
    """So many updates apart the validation split is looked at, and after the last."""
    return config.valid_every or max(1, updates // VALIDATIONS)


def new_run(path: Path, config: Config, corpus: Corpus, device: str) -> Run:
    """A run directory for these settings: here `auto` and the budget become concrete, once."""
    refuse_what_cannot_fit(config, corpus, device)
    symbols, ids = corpus.alphabet.size, corpus.split("train")
    kernel, why = resolve_kernel(config, device)
    updates = updates_of(config, ids)
    if config.minutes:
        each = seconds_per_update(of_one(config), UPDATES, symbols, kernel, device, ids, budget=3.0)
        updates = max(1, round(config.minutes * 60 / each))
    parameters, state_size = size(config, symbols)
    made_by = {
        "charlm": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": device,
        "threads": str(config.threads),
        "processes": str(several()),
    }
    record = Record(
        format=FORMAT,
        config=config,
        text=corpus.text,
        updates=updates,
        kernel=kernel,
        kernel_why=why,
        cell_sha256=sha256(config.cell),
        parameters=parameters,
        state_size=state_size,
        made_by=made_by,
    )
    return Run.make(path, record, corpus.alphabet)


def walked_by(run: Run, config: Config, device: str) -> tuple[str, str]:
    """The run's kernel and why it is that: as recorded, or as told when it is resumed."""
    if config.kernel == run.record.config.kernel:
        return run.record.kernel, run.record.kernel_why
    return resolve_kernel(config, device)


def begin(
    run: Run, device: str, config: Config, say: Callable[[str], None], ranks: Ranks = ALONE
) -> tuple[Learner[CharLM], int]:
    """The learner where the run's newest sound checkpoint left it, or new; and how many bytes of
    the metrics belong to it."""
    kernel, _ = walked_by(run, config, device)
    model = make(config, run.alphabet.size, kernel, device)
    learner = Learner(model, config, run.record.updates, ranks)
    if not run.checkpoints:
        return learner, 0
    checkpoint = run.load("last", say)
    there = run.path / "metrics.jsonl"
    if not there.exists() or there.stat().st_size < checkpoint.progress.metrics_bytes:
        raise BadData(f"{there} has lost lines that the run had: put it back, or begin another run")
    learner.restore(checkpoint.tensors, checkpoint.progress)
    if ranks.first:
        run.forget_after(learner.update)
    return learner, checkpoint.progress.metrics_bytes


def train(
    run: Run,
    learner: Learner[CharLM],
    corpus: Corpus,
    metrics_bytes: int = 0,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Happening]:
    """Train to the end of the budget, or until `stop` says so: after a whole update, saved.

    Yields what happens, in order; the caller must exhaust it. Every update is on record before it
    is yielded, and a save contains all that was yielded before it.
    """
    config, updates, ranks = learner.config, learner.updates, learner.ranks
    every = looks_every(config, updates)
    device, threads = str(learner.model.bias.device), torch.get_num_threads()
    batches = Batches(corpus.split("train"), config.batch, config.time, config.seed, device)
    with closing(log(run, "metrics", ranks)) as metrics, events(run, ranks) as event:
        metrics.cut(metrics_bytes)
        event(
            "began" if learner.update == 0 else "resumed",
            learner,
            device=device,
            threads=threads,
            kernel=learner.model.kernel,
            processes=ranks.size,
        )
        saved = time.monotonic()
        while learner.update < updates:
            updated = learner.learn(batches[learner.update])
            metrics.append(msgspec.json.encode(updated))
            yield updated

            valid_bits, better = None, False
            if updated.update % every == 0 or updated.update == updates:
                if ranks.first:
                    valid_bits = quick_bits(learner.model, corpus.split("valid"), corpus.alphabet)
                valid_bits = ranks.told(valid_bits)
                if not math.isfinite(valid_bits):
                    raise NonFinite(
                        f"update {updated.update}: validation gives {valid_bits} bits. The last "
                        "good checkpoint is kept; train with a lower --learning-rate or --clip"
                    )
                better = learner.best is None or valid_bits < learner.best[1]
                if better:
                    learner.best = updated.update, valid_bits
                validated = Validated(updated.update, updated.characters, valid_bits)
                metrics.append(msgspec.json.encode(validated))
                event("validated", learner)
                yield validated

            stopping = ranks.any(stop())
            due = ranks.any(ranks.first and time.monotonic() - saved >= config.save_every)
            if better or due or stopping or updated.update == updates:
                tensors = learner.tensors()
                if ranks.first:
                    run.save(learner.progress(metrics.sync(), valid_bits), tensors)
                saved = time.monotonic()
                event("saved", learner)
                yield Saved(updated.update)
            if stopping:
                event("stopped", learner)
                return


def log(run: Run, name: str, ranks: Ranks) -> durable.Log:
    """A file of lines of the run; those of all processes but the first go nowhere."""
    return durable.Log(run.path / f"{name}.jsonl" if ranks.first else Path(os.devnull))


@contextmanager
def events(run: Run, ranks: Ranks) -> Iterator[Callable[..., None]]:
    """The run's diary: what happened when, and after how many seconds of updates."""
    with closing(log(run, "events", ranks)) as diary:

        def event(what: str, learner: Learner[Any], **more: Any) -> None:
            line = {"event": what, "update": learner.update, "seconds": round(learner.seconds, 3)}
            diary.append(msgspec.json.encode({"time": now(), **line, **more}))

        yield event


def timed(
    config: Config, updates: int, symbols: int, kernel: str, device: str, ids: Ids
) -> Iterator[float]:
    """The seconds of each real update of a scratch model."""
    learner = Learner(make(config, symbols, kernel, device), config, updates)
    batches = Batches(ids, config.batch, config.time, config.seed, device)
    while learner.update < updates:
        before = learner.seconds
        learner.learn(batches[learner.update])
        yield learner.seconds - before


def seconds_per_update(
    config: Config,
    updates: int,
    symbols: int,
    kernel: str,
    device: str,
    ids: Ids,
    budget: float = 1.0,
) -> float:
    """Times real updates of a scratch model, `budget` seconds or `updates` long: the median."""
    times: list[float] = []
    began = time.perf_counter()
    with torch.random.fork_rng(), suppress(NonFinite):  # that is for the run itself to meet
        for seconds in islice(timed(config, updates, symbols, kernel, device, ids), 50):
            times.append(seconds)
            if sum(times[1:]) >= budget:
                break
    # The first pays for what is made once; without even one, what the attempt took must do.
    return statistics.median(times[1:] or times or [time.perf_counter() - began])


def conclude(
    run: Run,
    corpus: Corpus,
    kernel: str,
    device: str,
    say: Callable[[str], None],
    tick: Tick = lambda _: None,
) -> dict[str, Any]:
    """Scores the best weights exactly on the final split; the report of the run, now finished."""
    record, config = run.record, run.record.config
    last = run.load("last", say).progress
    best = run.load("best", say)
    model = make(config, run.alphabet.size, kernel, device)
    load_weights(model, best.tensors)
    characters = record.updates * config.batch * config.time
    report = {
        "format": FORMAT,
        **record.facts(),
        "kernel": kernel,
        "updates": record.updates,
        "characters_read": characters,
        "seconds": last.seconds,
        "chars_per_second": characters / last.seconds,
        "best_update": best.progress.update,
        "best_valid_bits": best.progress.valid_bits,
        "valid_protocol": QUICK,
        "weights_sha256": best.sha256,
        "split": config.final,
        "score": None,
    }
    if config.final != "none":
        span = corpus.text.splits[config.final]
        report["score"] = score(model, corpus.alphabet, corpus.encoding, span, tick)
    run.finish(report)
    return report
