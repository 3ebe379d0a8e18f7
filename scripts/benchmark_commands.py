"""Benchmarks of whole commands: what a run costs besides its steps, starting, and help."""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from benchmark_basics import RECIPE, random_ids

from charlm.config import validate_config
from charlm.data.corpus import load_corpus
from charlm.evaluation.scoring import validation_bpc
from charlm.execution.forked_workers import CAN_FORK, ForkedWorker, start_local_worker
from charlm.models.build import build_char_lm
from charlm.reporting.terminal.progress import TerminalProgress
from charlm.runs.creation import create_run
from charlm.training.loop import run_training_loop
from charlm.training.planning import plan_run
from charlm.training.trainer import Trainer


def bench_extras(max_steps: int) -> Iterator[str]:
    """Measure what a run of `charlm train` costs besides its steps and its validation."""
    with tempfile.TemporaryDirectory() as directory:
        text = Path(directory) / "text.txt"
        text.write_bytes(bytes(random_ids(300_000) + 32))
        settings = {"hidden_size": 128, "max_steps": max_steps, "eval_every": max_steps, **RECIPE}
        corpus = load_corpus([str(text)], validate_config(settings))
        record = plan_run(validate_config(settings), corpus, "cpu").record
        config = record.config  # the recipe chooses the batch
        run = create_run(Path(directory) / "run", record, corpus.vocabulary)
        model = build_char_lm(config, corpus.vocabulary.size, record.kernel, "cpu")
        trainer = Trainer(model, config, max_steps)
        tokens_per_step = config.batch_size * config.seq_len
        start = time.perf_counter()
        with TerminalProgress(1.0).training(max_steps, tokens_per_step, None) as show:
            for event in run_training_loop(run, trainer, corpus):
                show(event)
        total = time.perf_counter() - start
        start = time.perf_counter()
        validation_bpc(model, corpus.split("valid"), corpus.vocabulary)
        total -= time.perf_counter() - start
    fraction = (total - trainer.seconds) / total
    yield f"progress, logging and checkpoints (target 2 %): {fraction:.1%} of {total:.1f} s"


def child_seconds() -> float:
    """Return the CPU seconds of all processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def bench_start(repeats: int) -> Iterator[str]:
    """Measure how long commands and workers take to start."""
    yield "CPU seconds of a process, imports and exit included"
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "text").write_bytes(bytes(random_ids(20_000) + 32))
        train = ["train", str(directory / "text"), "--max-steps", "1", "--final-eval", "none"]

        def start(arguments: list[str]) -> float:
            before = child_seconds()
            command = [sys.executable, "-m", "charlm", *arguments]
            subprocess.run(command, capture_output=True, check=True)
            return child_seconds() - before

        runs = [str(directory / f"process-{i}") for i in range(repeats + 1)]
        start([*train, "--run", runs[0]])  # compiles the kernel
        times = statistics.median(start([*train, "--run", run]) for run in runs[1:])
        yield f"  charlm train, one update           {times:6.2f}"
        sample = ["sample", runs[0], "--length", "1"]
        times = statistics.median(start(sample) for _ in range(repeats))
        yield f"  charlm sample, one character       {times:6.2f}"

        def worker_seconds(run: str) -> float:
            log = directory / "log"
            worker = start_local_worker([*train, "--run", run], log, directory)
            assert isinstance(worker, ForkedWorker), "no fork server on this system"
            seconds = 0.0
            while worker.poll() is None:
                with suppress(OSError):  # it has just ended
                    seconds = process_seconds(worker.pid)
                time.sleep(0.01)
            return seconds

        if CAN_FORK:
            runs = [str(directory / f"worker-{i}") for i in range(repeats)]
            times = statistics.median(worker_seconds(run) for run in runs)
            yield f"  worker of a comparison, one update {times:6.2f}"


def process_seconds(pid: int) -> float:
    """Return the CPU seconds of a running process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime


def bench_help(repeats: int) -> Iterator[str]:
    """Measure help and usage errors."""
    yield "help and usage errors, wall seconds (target 0.35)"
    for arguments in (["--help"], ["train", "--help"], ["train", "--no-such-option"]):
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            command = [sys.executable, "-m", "charlm", *arguments]
            subprocess.run(command, capture_output=True, check=False)
            times.append(time.perf_counter() - start)
        yield f"  charlm {' '.join(arguments):<22} {statistics.median(times):6.2f}"
