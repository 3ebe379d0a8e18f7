"""Cost estimate of a comparison on a task: time, memory and disk before any curriculum starts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from charlm.cells.names import cell_label
from charlm.comparison.cost_estimate import estimate_memory
from charlm.comparison.curricula import CURRICULA, PlannedCurriculum, is_done
from charlm.comparison.directory import check_comparison_dir
from charlm.comparison.task_plan import (
    TaskComparisonPlan,
    TaskComparisonRequest,
    plan_task_comparison,
)
from charlm.comparison.throughput import measure_startup_time
from charlm.config import FORMAT_VERSION
from charlm.execution.device import available_cores, available_memory, select_device
from charlm.execution.executor import Execution, LocalExecutor, makespan
from charlm.progress import NoProgress, Progress
from charlm.results.comparison_plan import (
    CostEstimate,
    PlannedEntry,
    PlannedJob,
    Purpose,
    RemainingWork,
    Resources,
)
from charlm.results.jobs import JobProgress
from charlm.storage import files
from charlm.tasks.curriculum_files import load_level_results
from charlm.tasks.estimates import LevelTimings, estimate_curriculum_disk, measure_level

Speeds = Mapping[str, Mapping[int, LevelTimings]]  # of each cell at each length


def dry_run(
    request: TaskComparisonRequest,
    out: Path,
    *,
    device: str = "auto",
    jobs: int = 0,
    progress: Progress = NoProgress(),
) -> CostEstimate:
    """Estimate what a comparison on a task will take; train nothing but a moment of each cell.

    Nothing is written. What the directory of the comparison has already counts as done. The time
    is that of curricula that use up their steps at every length: it is an upper bound, as they
    end sooner at lengths that they solve, and end for good at one that they do not.

    Args:
        request: What would be compared.
        out: Directory of the comparison, which need not exist.
        device: Device of the curricula.
        jobs: Curricula side by side; 0: one per core, one on a GPU.
        progress: Receiver of progress.
    """
    check_comparison_dir(out, "task")
    local_device, _ = select_device(device, 1)
    cores = available_cores() if local_device == "cpu" else 1
    executor = LocalExecutor(jobs or cores, local_device)
    plan = plan_task_comparison(request, Execution(out, executor, progress))
    speeds = _measure_speeds(plan, local_device, progress)
    return estimate_task_cost(plan, out, executor, speeds, measure_startup_time(local_device))


def _measure_speeds(plan: TaskComparisonPlan, device: str, progress: Progress) -> Speeds:
    """Time each cell at each length."""
    with progress.counter("timing each cell") as count:
        speeds: dict[str, dict[int, LevelTimings]] = {}
        for label, (first, *_) in plan.by_cell.items():
            speeds[label] = {
                length: measure_level(first.config, plan.task, length, device)
                for length in plan.lengths
            }
            count(1)
    return speeds


def estimate_task_cost(
    plan: TaskComparisonPlan,
    directory: Path,
    executor: LocalExecutor,
    speeds: Speeds,
    startup: float,
) -> CostEstimate:
    """Estimate what the curricula of a plan will take, at most.

    Args:
        plan: The plan.
        directory: Directory of the comparison.
        executor: Where the curricula would be trained.
        speeds: Label of a cell -> length -> its speed, alone on this machine.
        startup: Seconds to start and stop a process.
    """
    # Before the bracket has ended, it is open which rates and so which directories there will be.
    is_open = not all(map(is_done, plan.bracket))
    chosen = plan if is_open else plan.with_chosen_rates()

    def estimate(planned: PlannedCurriculum, purpose: Purpose, is_open: bool) -> PlannedJob:
        speed = speeds[cell_label(planned.config.cell)]
        return _estimate_job(plan, planned, purpose, speed, startup, executor.device, is_open)

    bracket = [estimate(planned, "bracket", False) for planned in plan.bracket]
    curricula = [estimate(planned, "curriculum", is_open) for planned in chosen.curricula]
    parallel = executor.max_parallel
    remaining = [job for job in (*bracket, *curricula) if job.status != "finished"]
    return CostEstimate(
        format=FORMAT_VERSION,
        matching=plan.match.matching(None, plan.curricula[0].config.max_steps),
        device=executor.device,
        parallel_runs=parallel,
        memory_limits_parallel=False,  # the plan was refused if they do not fit
        startup_seconds=startup,
        entries=tuple(_with_speed(entry, plan, speeds) for entry in plan.entries),
        runs=(*bracket, *curricula),
        remaining=RemainingWork(
            runs=len(remaining),
            # Curricula begin when the bracket has ended.
            seconds=sum(
                makespan((job.seconds for job in stage), parallel) for stage in (bracket, curricula)
            ),
            memory_bytes=sum(sorted(job.memory_bytes for job in remaining)[-parallel:]),
            disk_bytes=sum(job.disk_bytes for job in remaining),
        ),
        available=Resources(
            memory_bytes=available_memory(executor.device),
            disk_bytes=files.free_bytes(directory),
        ),
    )


def _estimate_job(
    plan: TaskComparisonPlan,
    planned: PlannedCurriculum,
    purpose: Purpose,
    speeds: Mapping[int, LevelTimings],
    startup: float,
    device: str,
    is_open: bool,
) -> PlannedJob:
    """Return what remains of a curriculum; a length that was interrupted begins again."""
    config = planned.config
    progress = JobProgress(total=1) if is_open else planned.progress()
    done = [] if is_open else load_level_results(planned.path, plan.lengths)
    left: Sequence[int] = [] if progress.status else plan.lengths[len(done) :]
    longest = msgspec.structs.replace(config, seq_len=plan.task.sequence_length(plan.lengths[-1]))
    label = cell_label(config.cell)
    directory = f"{label}-s{config.seed}" if is_open else planned.path.name
    return PlannedJob(
        name=f"{CURRICULA}/{directory}",
        purpose=purpose,
        role="cell",
        cell=label,
        seed=config.seed,
        hidden_size=config.hidden_size,
        parameters=planned.parameters,
        status=progress.status or ("running" if progress.done else "pending"),
        fraction_done=1.0 if progress.status else progress.done / progress.total,
        seconds=startup + sum(speeds[length].seconds(config) for length in left) if left else 0.0,
        memory_bytes=estimate_memory(longest, plan.task.input_size, device),
        disk_bytes=estimate_curriculum_disk(config, left) if left else 0,
    )


def _with_speed(entry: PlannedEntry, plan: TaskComparisonPlan, speeds: Speeds) -> PlannedEntry:
    """Return an entry with its speed at the longest length."""
    length = plan.lengths[-1]
    symbols = entry.batch_size * plan.task.sequence_length(length)
    seconds = speeds[entry.name][length].seconds_per_step
    return msgspec.structs.replace(entry, seconds_per_million=1e6 * seconds / symbols)
