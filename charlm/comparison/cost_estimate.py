"""Cost estimate of a comparison: time, memory and disk of its runs before any is started."""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import msgspec

from charlm.comparison.entries import PlannedRun
from charlm.comparison.plan import ComparisonPlan
from charlm.comparison.throughput import Speeds, probe_seconds
from charlm.comparison.work import PlannedWork, planned_work
from charlm.config import FORMAT_VERSION, Config
from charlm.data.corpus import Corpus
from charlm.errors import StorageError
from charlm.execution.device import available_memory
from charlm.execution.executor import LocalExecutor, makespan
from charlm.models.cost import estimate_training_memory
from charlm.probes.base import DEFAULT_PROBES
from charlm.probes.estimates import PROBE_DISK_BYTES, REPORT_DISK_BYTES
from charlm.results.comparison_plan import CostEstimate, PlannedJob, RemainingWork, Resources
from charlm.storage import files
from charlm.training.estimates import RunTimings, estimate_run_disk

# Bytes of a process before it has a model. That of CUDA was not measured, for want of a GPU.
PROCESS_OVERHEAD_BYTES = {"cpu": 400_000_000, "cuda": 800_000_000}
PROBING_DISK_BYTES = len(DEFAULT_PROBES) * PROBE_DISK_BYTES + REPORT_DISK_BYTES  # of a run


def estimate_cost(
    plan: ComparisonPlan,
    directory: Path,
    executor: LocalExecutor,
    speeds: Speeds,
    startup: float,
) -> CostEstimate:
    """Estimate what the runs, trials and probes of a plan will take.

    Args:
        plan: The plan.
        directory: Directory of the comparison.
        executor: Where the runs would be made.
        speeds: Entry -> its speed, alone on this machine.
        startup: Seconds to start and stop a process.
    """
    work = planned_work(plan)
    jobs = [
        _estimate_job(item, speeds[item.entry.name], startup, plan.corpus, executor.device)
        for item in work
    ]
    if plan.request.memory:
        jobs += [
            _estimate_probe(
                job,
                is_done=not item.is_open and _is_probed(item.run, directory),
                seconds=startup + probe_seconds(speeds[item.entry.name], plan.corpus),
            )
            for item, job in zip(work, jobs, strict=True)
            if item.purpose == "run"
        ]
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
        entries=tuple(entry.summary(speeds[entry.name].seconds_per_step) for entry in plan.entries),
        runs=tuple(jobs),
        remaining=RemainingWork(
            runs=len(remaining),
            seconds=makespan((job.seconds for job in remaining), parallel),
            memory_bytes=sum(sorted(job.memory_bytes for job in remaining)[-parallel:]),
            disk_bytes=sum(job.disk_bytes for job in remaining),
        ),
        available=Resources(
            memory_bytes=available_memory(executor.device),
            disk_bytes=files.free_bytes(directory),
        ),
        insufficient=plan.insufficient,
    )


def _estimate_job(
    work: PlannedWork, speed: RunTimings, startup: float, corpus: Corpus, device: str
) -> PlannedJob:
    """Return what remains of a run, trial or bracket."""
    run, progress = work.run, work.progress()
    seconds = speed.seconds(run.config, run.max_steps, corpus, progress.done)
    return PlannedJob(
        name=work.label,
        purpose=work.purpose,
        role=work.entry.role,
        cell=work.entry.name,
        seed=run.config.seed,
        hidden_size=run.config.hidden_size,
        parameters=run.parameters,
        status=progress.status or ("running" if progress.done else "pending"),
        fraction_done=1.0 if progress.status else progress.done / max(1, progress.total),
        seconds=0.0 if progress.status else startup + seconds,
        memory_bytes=estimate_memory(run.config, corpus.vocabulary.size, device),
        disk_bytes=estimate_disk(work),
    )


def _estimate_probe(job: PlannedJob, *, is_done: bool, seconds: float) -> PlannedJob:
    """Return what remains of probing the run of a job."""
    return msgspec.structs.replace(
        job,
        name=f"probes/{job.name.partition('/')[2]}",
        purpose="probe",
        status="finished" if is_done else "pending",
        fraction_done=float(is_done),
        seconds=0.0 if is_done else seconds,
        disk_bytes=0 if is_done else PROBING_DISK_BYTES,
    )


def _is_probed(run: PlannedRun, directory: Path) -> bool:
    return (directory / "probes" / run.path.name / "report.json").exists()


def estimate_memory(config: Config, vocabulary_size: int, device: str) -> int:
    """Return the bytes that the process of a run takes, about."""
    overhead = PROCESS_OVERHEAD_BYTES[device.partition(":")[0]]
    return estimate_training_memory(config, vocabulary_size, device) + overhead


def estimate_disk(work: PlannedWork) -> int:
    """Return the bytes that a run or trial will still write until it has finished."""
    if work.progress().status:
        return 0
    run = work.run
    files_of_run = () if work.is_open else run.path.rglob("*")
    written = sum(file.stat().st_size for file in files_of_run if file.is_file())
    disk = estimate_run_disk(run.config, run.max_steps, run.parameters, run.state_size)
    return max(0, disk.finished - written)


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
