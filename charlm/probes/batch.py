"""Probe one or more runs: the function behind `charlm probe`, and that of comparisons."""

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path

from charlm.cells.names import parse_custom_cell
from charlm.data.corpus import Sources, reload_corpus
from charlm.execution.executor import Execution, LocalExecutor, run_jobs
from charlm.execution.jobs import Job
from charlm.probes.base import DEFAULT_PROBES, PROBES, Probe
from charlm.probes.plan import MARKER_FILE, ProbePlan, check_same_text, plan_probing
from charlm.probes.report import build_report, read_report
from charlm.probes.runner import describe_run, probe_run, run_name
from charlm.progress import NoProgress, Progress
from charlm.results.jobs import JobProgress
from charlm.results.probes import ProbesReport
from charlm.runs.checkpoint import CheckpointName
from charlm.runs.restore import load_model
from charlm.runs.run import Run
from charlm.storage import files
from charlm.storage.json_files import encode_json, seal_json
from charlm.storage.lock import exclusive_lock
from charlm.storage.paths import path_word

WORKER_LOG_EVERY = 60  # seconds between progress lines in the log of a worker


def probe(
    runs: Run | str | Path | Sequence[Run | str | Path],
    probes: Sequence[str] = (),
    *,
    full: bool = False,
    split: str = "test",
    max_chars: int = 250_000,
    seed: int = 0,
    checkpoint: CheckpointName = "best",
    out: str | Path | None = None,
    sources: Sources = (),
    kernel: str = "auto",
    device: str = "auto",
    jobs: int = 0,
    progress: Progress = NoProgress(),
) -> ProbesReport:
    """Measure how far back runs remember, on text that they were not trained on.

    Each result is written to `out` as soon as it is there. The same call again continues an
    interrupted one, and returns a finished one at once. Several runs are probed side by side in
    processes of their own.

    Args:
        runs: A run or its directory, or several that read the same text.
        probes: Names of probes; empty: the five of the memory profile.
        full: Whether to measure all probes, instead of naming some.
        split: "test" or "valid".
        max_chars: Tokens of the split that are probed, from its beginning.
        seed: Seed of every random choice of a probe.
        checkpoint: "best" or "last".
        out: Directory of results and `report.json`. It is created, or has results of the same
            request. Default: `probes` in the directory of the run; required for several runs.
        sources: Where the runs' corpus is now, if it was moved.
        kernel: "auto" or the name of a kernel.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        jobs: Runs side by side, one thread each; 0: one per core, or one on a GPU.
        progress: Receiver of progress.

    Raises:
        ConfigError: A name is unknown or given beside `full`, or the runs read different texts or
            have the same name.
        OutputExistsError: `out` has other files, or results of another request.
    """
    plan = plan_probing(
        runs,
        probes,
        full=full,
        split=split,
        max_chars=max_chars,
        seed=seed,
        checkpoint=checkpoint,
        out=out,
        sources=sources,
        kernel=kernel,
        device=device,
        jobs=jobs,
    )
    return run_probing(plan, progress)


def run_probing(plan: ProbePlan, progress: Progress = NoProgress()) -> ProbesReport:
    """Measure what a plan names and has no result yet, and write results and report.

    Args:
        plan: Runs, probes and options.
        progress: Receiver of progress.

    Raises:
        OutputExistsError: The directory has other files, or results of another request.
    """
    directory, request = plan.directory, plan.request
    plan.check_directory()  # before a lock creates it
    with exclusive_lock(directory):
        if not plan.check_directory():
            files.write_atomic(directory / MARKER_FILE, encode_json(plan.marker))
        if len(plan.runs) > 1:
            execution = Execution(directory, plan.executor, progress)
            return probe_side_by_side(plan.runs, plan.probes, plan.options, execution)
        (run,) = plan.runs
        corpus = reload_corpus(run.record.config, run.record.text, plan.sources, progress)
        device = plan.executor.device
        weights, model = load_model(run, request.checkpoint, plan.kernel, device, 1)
        description = describe_run(run, corpus, weights, request)
        probe_run(run, corpus, description, model, request, plan.probes, directory, progress)
        command = equivalent_command(plan.runs, plan.probes, plan.options, directory)
        report = build_report([description], [directory], plan.probes, command)
        files.write_atomic(directory / "report.json", seal_json(report))
    return report


def probe_memory(runs: Sequence[Run], execution: Execution) -> ProbesReport:
    """Run the default probes on the runs of a comparison, on its device; on a GPU one at a time.

    Results and report are written to `probes` in the directory of the comparison.
    """
    executor, options = execution.executor, []
    if isinstance(executor, LocalExecutor):
        options = [f"--device={executor.device}"]
        if executor.device != "cpu":
            executor = dataclasses.replace(executor, max_parallel=1)
    directory = execution.directory / "probes"
    return probe_side_by_side(
        runs,
        [PROBES[name] for name in DEFAULT_PROBES],
        options,
        Execution(directory, executor, execution.progress),
    )


def probe_side_by_side(
    runs: Sequence[Run], probes: Sequence[Probe], options: Sequence[str], execution: Execution
) -> ProbesReport:
    """Probe runs with a `charlm probe` command each, in a directory each, and write a report.

    Args:
        runs: Runs that read the same text.
        probes: Probes in the order of the report.
        options: Options of these commands.
        execution: Where the jobs run.
    """
    check_same_text(runs)
    jobs = [probe_job(run, execution.directory, options, probes) for run in runs]
    run_jobs(jobs, execution)
    descriptions = [read_report(job.path).runs[0] for job in jobs]
    command = equivalent_command(runs, probes, options, execution.directory)
    report = build_report(descriptions, [job.path for job in jobs], probes, command)
    files.write_atomic(execution.directory / "report.json", seal_json(report))
    return report


def probe_job(run: Run, directory: Path, options: Sequence[str], probes: Sequence[Probe]) -> Job:
    """Return the job that probes one of several runs, in a subdirectory."""
    path = directory / run_name(run)
    names = [probe.name for probe in probes]

    def poll_progress() -> JobProgress:
        done = sum((path / f"{name}.json").exists() for name in names)
        return JobProgress(done=done, total=len(names))

    selection = f"--probes={','.join(names)}"
    argv = [
        "probe",
        path_word(run.path),
        f"--out={path}",
        selection,
        f"--log-every={WORKER_LOG_EVERY}",
    ]
    return Job(run_name(run), path, [*argv, *trust_options([run]), *options], poll_progress)


def equivalent_command(
    runs: Sequence[Run], probes: Sequence[Probe], options: Sequence[str], directory: Path
) -> str:
    """Return the command line that makes the same report."""
    paths = [path_word(run.path) for run in runs]
    selection = f"--probes={','.join(probe.name for probe in probes)}"
    trust, out = trust_options(runs), f"--out={directory}"
    return shlex.join(["charlm", "probe", *paths, selection, *options, *trust, out])


def trust_options(runs: Sequence[Run]) -> list[str]:
    """Return the options that name the files of the runs' custom cells."""
    cells = dict.fromkeys(run.record.config.cell for run in runs)
    return [f"--trust-cell={cell}" for cell in cells if parse_custom_cell(cell)]
