"""Cost estimate of a comparison: time, memory and disk of its runs before any is started."""

import heapq
import math
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

from charlm.comparison.plan import ComparisonPlan
from charlm.comparison.tuning import PlannedWork, planned_work
from charlm.config import FORMAT_VERSION, Config
from charlm.data.corpus import Corpus
from charlm.errors import StorageError
from charlm.evaluation.scoring import VALIDATION_TOKENS, iter_token_nll, validation_bpc
from charlm.execution.device import available_memory
from charlm.execution.executor import Execution, LocalExecutor, run_jobs
from charlm.execution.jobs import Job
from charlm.models.build import build_char_lm, select_kernel
from charlm.models.cost import estimate_training_memory
from charlm.progress import ProgressCallback, ignore
from charlm.results.comparison import (
    CostEstimate,
    PlannedJob,
    RemainingWork,
    Resources,
)
from charlm.results.jobs import JobProgress
from charlm.runs.run import RECENT_CHECKPOINTS
from charlm.storage import files
from charlm.training.budget import measure_step_time, resolve_max_steps, validation_interval

# Bytes of a process before it has a model. That of CUDA was not measured, for want of a GPU.
PROCESS_OVERHEAD_BYTES = {"cpu": 400_000_000, "cuda": 800_000_000}
TIMING_TOKENS = 4096  # tokens that are read to time validation and scoring
METRICS_BYTES_PER_STEP = 192  # of a step in metrics.jsonl, at most
CHECKPOINT_HEADER_BYTES = 1 << 14  # of a checkpoint that are not numbers, at most
OTHER_FILES_BYTES = 1 << 17  # of all other files of a run, at most


def estimate_cost(
    plan: ComparisonPlan,
    directory: Path,
    executor: LocalExecutor,
    count: ProgressCallback = ignore,
) -> CostEstimate:
    """Estimate what the runs and trials of a plan will take.

    Times are measured now, each entry alone on this machine, and include the start of a process.

    Args:
        plan: The plan.
        directory: Directory of the comparison.
        executor: Where the runs would be made.
        count: Is called after each entry that was timed.
    """
    startup = measure_startup_time(executor.device)
    vocabulary_size = plan.corpus.vocabulary.size
    speeds: dict[str, Throughput] = {}
    for entry in plan.entries:
        speeds[entry.name] = measure_throughput(entry.runs[0].config, plan.corpus, executor.device)
        count(1)

    def estimate_job(work: PlannedWork) -> PlannedJob:
        run, progress = work.run, work.progress()
        fraction = 1.0 if progress.status else progress.done / max(1, progress.total)
        seconds = speeds[work.entry.name].run_seconds(run.config, plan.corpus)
        return PlannedJob(
            name=work.label,
            purpose=work.purpose,
            role=work.entry.role,
            cell=work.entry.name,
            seed=run.config.seed,
            hidden_size=run.config.hidden_size,
            parameters=run.parameters,
            status=progress.status or ("running" if progress.done else "pending"),
            fraction_done=fraction,
            seconds=0.0 if progress.status else startup + seconds * (1 - fraction),
            memory_bytes=estimate_memory(run.config, vocabulary_size, executor.device),
            disk_bytes=estimate_disk(work, plan.corpus),
        )

    jobs = [estimate_job(work) for work in planned_work(plan)]
    remaining = [job for job in jobs if job.status in ("pending", "running")]
    limited = limit_to_memory(executor, [job.memory_bytes for job in remaining or jobs])
    parallel = limited.executor.max_parallel
    return CostEstimate(
        format=FORMAT_VERSION,
        matching=plan.matching,
        device=executor.device,
        parallel_runs=parallel,
        memory_limits_parallel=limited.is_limited,
        startup_seconds=startup,
        entries=tuple(
            entry.summary(speeds[entry.name].seconds_per_million(entry.runs[0].config))
            for entry in plan.entries
        ),
        runs=tuple(jobs),
        remaining=RemainingWork(
            runs=len(remaining),
            seconds=makespan((job.seconds for job in remaining), parallel),
            memory_bytes=sum(sorted(job.memory_bytes for job in remaining)[-parallel:]),
            disk_bytes=sum(job.disk_bytes for job in remaining),
        ),
        available=Resources(
            memory_bytes=available_memory(executor.device), disk_bytes=files.free_bytes(directory)
        ),
        insufficient=plan.insufficient,
    )


def measure_startup_time(device: str) -> float:
    """Return the seconds that a worker takes to start and stop, with almost nothing to train."""
    with TemporaryDirectory() as name:
        directory = Path(name).absolute()
        text, run = directory / "text", directory / "run"
        text.write_text("to be or not to be, " * 9)
        argv = ["train", str(text), "--run", str(run), f"--device={device}", "--max-steps=1"]
        argv += ["--cell=rnn", "--kernel=loop", "--hidden-size=4", "--batch-size=1", "--seq-len=2"]
        job = Job("startup", run, argv, JobProgress)
        start = perf_counter()
        run_jobs([job], Execution(directory, LocalExecutor(1, device)))
        return perf_counter() - start


class Throughput(NamedTuple):
    """Seconds per optimizer step, per token of validation, and per scored token."""

    seconds_per_step: float
    seconds_per_validation_token: float
    seconds_per_scored_token: float

    def seconds_per_million(self, config: Config) -> float:
        """Return the seconds of optimizer steps per million characters."""
        return 1e6 * self.seconds_per_step / (config.batch_size * config.seq_len)

    def run_seconds(self, config: Config, corpus: Corpus) -> float:
        """Return the seconds of a run from its first step to its score."""
        steps = resolve_max_steps(config, corpus.split("train"))
        validations = math.ceil(steps / validation_interval(config, steps))
        validation_tokens = validations * min(len(corpus.split("valid")), VALIDATION_TOKENS)
        scored_tokens = 0 if config.final_eval == "none" else len(corpus.split(config.final_eval))
        return (
            steps * self.seconds_per_step
            + validation_tokens * self.seconds_per_validation_token
            + scored_tokens * self.seconds_per_scored_token
        )


def measure_throughput(config: Config, corpus: Corpus, device: str) -> Throughput:
    """Time a new model for a moment."""
    kernel, _ = select_kernel(config, device)
    vocabulary_size, train = corpus.vocabulary.size, corpus.split("train")
    steps = resolve_max_steps(config, train)
    step_time = measure_step_time(config, steps, vocabulary_size, kernel, device, train)
    model = build_char_lm(config, vocabulary_size, kernel, device)
    ids = corpus.split("valid")[:TIMING_TOKENS]
    start = perf_counter()
    validation_bpc(model, ids, corpus.vocabulary)
    validated = perf_counter()
    deque(iter_token_nll(model, ids[:, None], corpus.vocabulary), maxlen=0)
    scored = perf_counter()
    return Throughput(step_time, (validated - start) / len(ids), (scored - validated) / len(ids))


def estimate_memory(config: Config, vocabulary_size: int, device: str) -> int:
    """Return the bytes that the process of a run takes, about."""
    overhead = PROCESS_OVERHEAD_BYTES[device.partition(":")[0]]
    return estimate_training_memory(config, vocabulary_size) + overhead


def estimate_disk(work: PlannedWork, corpus: Corpus) -> int:
    """Return the bytes that a run or trial will still write, at most."""
    if work.progress().status:
        return 0
    run = work.run
    # Weights and two moments; the state of each stream. The best one is kept beside the newest,
    # and one more is there while it is written.
    numbers = 3 * run.parameters + run.config.batch_size * run.state_size
    checkpoints = (RECENT_CHECKPOINTS + 2) * (4 * numbers + CHECKPOINT_HEADER_BYTES)
    metrics = METRICS_BYTES_PER_STEP * resolve_max_steps(run.config, corpus.split("train"))
    files_of_run = () if work.is_open else run.path.rglob("*")
    written = (file.stat().st_size for file in files_of_run if file.is_file())
    return max(0, checkpoints + metrics + OTHER_FILES_BYTES - sum(written))


def check_disk_space(directory: Path, needed: int) -> None:
    """Raise StorageError if fewer bytes are free than needed."""
    if needed > (free := files.free_bytes(directory)):
        raise StorageError(
            f"cannot write {directory}: the remaining runs need about {needed / 1e6:,.1f} MB, and "
            f"{free / 1e6:,.1f} MB are free there. Try to make room, or another --out"
        )


class LimitedExecutor(NamedTuple):
    """An executor with no more parallel jobs than fit into memory."""

    executor: LocalExecutor
    is_limited: bool  # whether these are fewer than requested


def limit_to_memory(executor: LocalExecutor, needs: Sequence[int]) -> LimitedExecutor:
    """Limit parallel jobs to those that fit into the memory of the device, whichever they are.

    Args:
        executor: With as many parallel jobs as requested.
        needs: Bytes of each job.
    """
    available = available_memory(executor.device)
    fitting = sum(need <= available for need in accumulate(sorted(needs, reverse=True)))
    parallel = max(1, min(executor.max_parallel, fitting))
    is_limited = fitting < min(executor.max_parallel, len(needs))
    return LimitedExecutor(LocalExecutor(parallel, executor.device), is_limited)


def makespan(seconds: Iterable[float], parallel: int) -> float:
    """Return the seconds until jobs have ended that are started in order on parallel workers."""
    ends = [0.0] * parallel
    for duration in seconds:
        heapq.heapreplace(ends, ends[0] + duration)
    return max(ends)
