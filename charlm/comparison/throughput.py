"""Speed of entries on this machine, measured for a moment."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from charlm.comparison.entries import Entry
from charlm.data.corpus import Corpus
from charlm.execution.executor import Execution, LocalExecutor, run_jobs
from charlm.execution.jobs import Job
from charlm.models.build import select_kernel
from charlm.probes.base import DEFAULT_PROBES, PROBES
from charlm.probes.estimates import estimate_seconds
from charlm.progress import ProgressCallback, ignore
from charlm.results.jobs import JobProgress
from charlm.training.estimates import RunTimings, measure_timings

Speeds = Mapping[str, RunTimings]  # of each entry


def measure_speeds(
    entries: Sequence[Entry], corpus: Corpus, device: str, count: ProgressCallback = ignore
) -> Speeds:
    """Time each entry for a moment.

    Args:
        entries: All entries.
        corpus: The text.
        device: Where the runs would be made.
        count: Is called after each entry.
    """
    speeds = {}
    for entry in entries:
        config = entry.runs[0].config
        kernel, _ = select_kernel(config, device)
        speeds[entry.name] = measure_timings(config, corpus, kernel, device)
        count(1)
    return speeds


def probe_seconds(speed: RunTimings, corpus: Corpus) -> float:
    """Return about how many seconds the probes of a run take."""
    probes = [PROBES[name] for name in DEFAULT_PROBES]
    tokens = len(corpus.stored_split("test"))
    return sum(estimate_seconds(probes, speed.seconds_per_validation_token, tokens))


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
