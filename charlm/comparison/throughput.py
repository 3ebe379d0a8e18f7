"""Speed of entries on this machine, measured for a moment, and what runs then take."""

import math
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

from charlm.comparison.entries import Entry, PlannedRun
from charlm.config import Config, parse_branches
from charlm.data.corpus import Corpus
from charlm.evaluation.scoring import VALIDATION_TOKENS, iter_token_nll, validation_bpc
from charlm.execution.executor import Execution, LocalExecutor, run_jobs
from charlm.execution.jobs import Job
from charlm.models.build import build_char_lm, select_kernel
from charlm.progress import ProgressCallback, ignore
from charlm.results.jobs import JobProgress
from charlm.training.budget import measure_step_time, validation_interval
from charlm.training.schedule import DECAY_FRACTION

TIMING_SECONDS = 0.5  # of optimizer steps of each entry
TIMING_TOKENS = 4096  # tokens that are read to time validation and scoring
PROBE_VALIDATION_TOKENS = 4_000_000  # tokens that the memory probes read, in parallel streams


class Throughput(NamedTuple):
    """Seconds per optimizer step, per token of validation, and per scored token."""

    seconds_per_step: float
    seconds_per_validation_token: float
    seconds_per_scored_token: float

    def seconds_per_million(self, config: Config) -> float:
        """Return the seconds of optimizer steps per million characters."""
        return 1e6 * self.seconds_per_step / (config.batch_size * config.seq_len)

    def update_seconds(self, run: PlannedRun) -> float:
        """Return the seconds of the optimizer steps of a run and its branches."""
        share = 1 + DECAY_FRACTION * float(sum(parse_branches(run.config.branches)))
        return run.max_steps * share * self.seconds_per_step

    def run_seconds(self, run: PlannedRun, corpus: Corpus) -> float:
        """Return the seconds of a run from its first step to its score, with its branches."""
        config, steps = run.config, run.max_steps
        looks = math.ceil(steps / validation_interval(config, steps))
        looks += len(parse_branches(config.branches))
        look_tokens = looks * min(len(corpus.split("valid")), VALIDATION_TOKENS)
        scored_tokens = 0 if config.final_eval == "none" else len(corpus.split(config.final_eval))
        return (
            self.update_seconds(run)
            + look_tokens * self.seconds_per_validation_token
            + scored_tokens * self.seconds_per_scored_token
        )

    def probe_seconds(self) -> float:
        """Return the seconds of the memory probes of a run."""
        return PROBE_VALIDATION_TOKENS * self.seconds_per_validation_token


def measure_throughputs(
    entries: Sequence[Entry], corpus: Corpus, device: str, count: ProgressCallback = ignore
) -> dict[str, Throughput]:
    """Time each entry for a moment.

    Args:
        entries: All entries.
        corpus: The text.
        device: Where the runs would be made.
        count: Is called after each entry.
    """
    speeds = {}
    for entry in entries:
        speeds[entry.name] = measure_throughput(entry.runs[0], corpus, device)
        count(1)
    return speeds


def measure_throughput(run: PlannedRun, corpus: Corpus, device: str) -> Throughput:
    """Time a new model for a moment."""
    config = run.config
    kernel, _ = select_kernel(config, device)
    vocabulary_size, train = corpus.vocabulary.size, corpus.split("train")
    step_time = measure_step_time(
        config, run.max_steps, vocabulary_size, kernel, device, train, TIMING_SECONDS
    )
    model = build_char_lm(config, vocabulary_size, kernel, device)
    valid = corpus.split("valid")
    start = perf_counter()
    validation_bpc(model, valid, corpus.vocabulary)
    validated = perf_counter()
    ids = valid[:TIMING_TOKENS]
    deque(iter_token_nll(model, ids[:, None], corpus.vocabulary), maxlen=0)
    scored = perf_counter()
    look_tokens = min(len(valid), VALIDATION_TOKENS)
    return Throughput(step_time, (validated - start) / look_tokens, (scored - validated) / len(ids))


def measure_startup_time(device: str) -> float:
    """Return the seconds that a worker takes to start and stop, with almost nothing to train.

    The first worker also starts the process that workers are forked from, so it does not count.
    """
    with TemporaryDirectory() as name:
        directory = Path(name).absolute()
        text = directory / "text"
        text.write_text("to be or not to be, " * 9)
        argv = ["train", str(text), f"--device={device}", "--max-steps=1", "--min-char-frequency=0"]
        argv += ["--cell=rnn", "--kernel=loop", "--hidden-size=4", "--batch-size=1", "--seq-len=2"]
        execution = Execution(directory, LocalExecutor(1, device))
        start = perf_counter()
        for number in range(2):
            start = perf_counter()
            run = directory / str(number)
            run_jobs([Job("startup", run, [*argv, "--run", str(run)], JobProgress)], execution)
        return perf_counter() - start
