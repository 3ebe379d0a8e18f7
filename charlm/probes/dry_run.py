"""Dry runs of a probing: what it would measure and take, without measuring or writing anything."""

from charlm.cells.names import cell_label
from charlm.config import FORMAT_VERSION
from charlm.data.corpus import Corpus, reload_corpus
from charlm.execution.executor import makespan
from charlm.models.char_lm import CharLM
from charlm.probes.cache import is_cached, probe_cache_key
from charlm.probes.estimates import (
    PROBE_DISK_BYTES,
    REPORT_DISK_BYTES,
    estimate_seconds,
    measure_reading_speed,
)
from charlm.probes.plan import ProbePlan
from charlm.probes.runner import describe_run, run_name
from charlm.progress import NoProgress, Progress
from charlm.results.probe_plan import PlannedProbe, ProbeEstimate
from charlm.results.probes import ProbedRun
from charlm.runs.restore import load_model
from charlm.runs.run import Run
from charlm.storage import files


def dry_run(plan: ProbePlan, progress: Progress = NoProgress()) -> ProbeEstimate:
    """Estimate what a probing will take; each model reads for a moment, and nothing is written.

    What the directory of the results has already counts as done.

    Args:
        plan: Runs, probes and options.
        progress: Receiver of progress.

    Raises:
        OutputExistsError: The directory has other files, or results of another request.
    """
    plan.check_directory()
    first = plan.runs[0].record
    corpus = reload_corpus(first.config, first.text, plan.sources, progress)
    planned: list[list[PlannedProbe]] = []
    for run in plan.runs:
        weights, model = load_model(
            run, plan.request.checkpoint, plan.kernel, plan.executor.device, 1
        )
        description = describe_run(run, corpus, weights, plan.request)
        planned.append(_plan_run(plan, run, description, model, corpus))
    reports = 1 if len(planned) == 1 else len(planned) + 1  # of each run, and of all
    every = [probe for own in planned for probe in own]
    parallel = min(plan.executor.max_parallel, len(plan.runs))
    seconds = [sum(probe.cpu_seconds for probe in own) for own in planned]
    return ProbeEstimate(
        format=FORMAT_VERSION,
        split=plan.request.split,
        characters=description.text.characters,
        device=plan.executor.device,
        out=str(plan.directory),
        parallel_runs=parallel,
        probes=tuple(every),
        seconds=makespan(seconds, parallel),
        cpu_seconds=sum(seconds),
        disk_bytes=sum(probe.disk_bytes for probe in every) + reports * REPORT_DISK_BYTES,
        available_disk_bytes=files.free_bytes(plan.directory),
    )


def _plan_run(
    plan: ProbePlan, run: Run, description: ProbedRun, model: CharLM, corpus: Corpus
) -> list[PlannedProbe]:
    """Return what remains of each probe of a run."""
    key = probe_cache_key(description, plan.request)
    speed = measure_reading_speed(model, corpus, plan.request.split)
    seconds = estimate_seconds(plan.probes, speed, description.text.characters)
    directory, planned = plan.directory_of(run), []
    for probe, probe_seconds in zip(plan.probes, seconds, strict=True):
        is_done = is_cached(directory, probe.name, key)
        planned.append(
            PlannedProbe(
                run=run_name(run),
                cell=cell_label(run.record.config.cell),
                probe=probe.name,
                is_done=is_done,
                cpu_seconds=0.0 if is_done else probe_seconds,
                disk_bytes=0 if is_done else PROBE_DISK_BYTES,
            )
        )
    return planned
