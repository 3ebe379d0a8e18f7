"""Probe one or more runs: the function behind `charlm probe`, and that of comparisons."""

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path

from charlm.cells.names import cell_label, parse_custom_cell
from charlm.config import FORMAT_VERSION
from charlm.data.corpus import Sources, reload_corpus
from charlm.errors import ConfigError, OutputExistsError
from charlm.execution.device import available_cores, select_device
from charlm.execution.executor import Execution, LocalExecutor, run_jobs
from charlm.execution.jobs import Job
from charlm.probes.base import Probe
from charlm.probes.report import build_report, read_report
from charlm.probes.runner import describe_run, probe_run, run_name, select_probes
from charlm.progress import NoProgress, Progress
from charlm.results.jobs import JobProgress
from charlm.results.probes import ProbeMarker, ProbeRequest, ProbesReport
from charlm.runs.checkpoint import CheckpointName
from charlm.runs.restore import load_model
from charlm.runs.run import Run, check_not_existing, open_run
from charlm.storage import files
from charlm.storage.json_files import decode_json, encode_json, read_bytes
from charlm.storage.lock import exclusive_lock

MARKER_FILE = "probes.json"
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
        probes: Names of probes; empty: the three of memory.
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
    runs = _open_runs(runs)
    if max_chars < 1:
        raise ConfigError(f"cannot probe {max_chars} characters: --max-chars must be at least 1")
    request = ProbeRequest(split=split, max_chars=max_chars, seed=seed, checkpoint=checkpoint)
    selected = select_probes(probes, full)
    check_same_text(runs)
    if out is None and len(runs) > 1:
        raise ConfigError("cannot probe several runs without a directory of results. Try out=PATH")
    if split not in runs[0].record.text.splits:
        raise ConfigError(f"cannot probe split {split!r}: it does not exist. Try test or valid")
    device, _ = select_device(device, 1)
    names = [sources] if isinstance(sources, str | Path) else sources
    options = [
        f"--split={split}",
        f"--max-chars={max_chars}",
        *(f"--corpus={name}" for name in names),
        f"--seed={seed}",
        f"--checkpoint={checkpoint}",
        f"--kernel={kernel}",
        f"--device={device}",
    ]
    directory = runs[0].path / "probes" if out is None else Path(out)
    if not (directory / MARKER_FILE).exists():
        check_not_existing(directory)
    with exclusive_lock(directory):
        initialize_output_dir(directory, runs, request)
        if len(runs) > 1:
            executor = LocalExecutor(jobs or (available_cores() if device == "cpu" else 1), device)
            return probe_side_by_side(
                runs, selected, options, Execution(directory, executor, progress)
            )
        (run,) = runs
        corpus = reload_corpus(run.record.config, run.record.text, sources, progress)
        weights, model = load_model(run, checkpoint, kernel, device, 1)
        description = describe_run(run, corpus, weights, request)
        probe_run(run, corpus, description, model, request, selected, directory, progress)
        report = build_report(
            [description],
            [directory],
            selected,
            equivalent_command(runs, selected, options, directory),
        )
        files.write_atomic(directory / "report.json", encode_json(report))
    return report


def _open_runs(runs: Run | str | Path | Sequence[Run | str | Path]) -> list[Run]:
    """Return the runs that are given themselves or by their directories."""
    return [open_run(run) for run in ([runs] if isinstance(runs, Run | str | Path) else runs)]


def probe_memory(runs: Sequence[Run], execution: Execution) -> ProbesReport:
    """Run the probes of memory on the runs of a comparison, on its device; on a GPU one at a time.

    Results and report are written to `probes` in the directory of the comparison.
    """
    executor, options = execution.executor, []
    if isinstance(executor, LocalExecutor):
        options = [f"--device={executor.device}"]
        if executor.device != "cpu":
            executor = dataclasses.replace(executor, max_parallel=1)
    directory = execution.directory / "probes"
    return probe_side_by_side(
        runs, select_probes([]), options, Execution(directory, executor, execution.progress)
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
    files.write_atomic(execution.directory / "report.json", encode_json(report))
    return report


def probe_job(run: Run, directory: Path, options: Sequence[str], probes: Sequence[Probe]) -> Job:
    """Return the job that probes one of several runs, in a subdirectory."""
    path = directory / run_name(run)
    names = [probe.name for probe in probes]

    def poll_progress() -> JobProgress:
        done = sum((path / f"{name}.json").exists() for name in names)
        return JobProgress(done=done, total=len(names))

    selection = f"--probes={','.join(names)}"
    argv = ["probe", str(run.path), f"--out={path}", selection, f"--log-every={WORKER_LOG_EVERY}"]
    return Job(run_name(run), path, [*argv, *trust_options([run]), *options], poll_progress)


def equivalent_command(
    runs: Sequence[Run], probes: Sequence[Probe], options: Sequence[str], directory: Path
) -> str:
    """Return the command line that makes the same report."""
    paths = [str(run.path) for run in runs]
    selection = f"--probes={','.join(probe.name for probe in probes)}"
    trust, out = trust_options(runs), f"--out={directory}"
    return shlex.join(["charlm", "probe", *paths, selection, *options, *trust, out])


def trust_options(runs: Sequence[Run]) -> list[str]:
    """Return the options that name the files of the runs' custom cells."""
    cells = dict.fromkeys(run.record.config.cell for run in runs)
    return [f"--trust-cell={cell}" for cell in cells if parse_custom_cell(cell)]


def check_same_text(runs: Sequence[Run]) -> None:
    """Check that the results of these runs can be compared.

    Raises:
        ConfigError: There is none, they read different texts, or two runs or two different cells
            have the same name.
    """
    if not runs:
        raise ConfigError("cannot probe: no run is given. Name at least one run")
    first = runs[0]
    names = set()
    cell_digests: dict[str, str] = {}  # name of a cell -> SHA-256 of its file
    for run in runs:
        first_text, text = (
            (r.record.text.digest, r.record.text.splits, r.vocabulary) for r in (first, run)
        )
        if first_text != text:
            raise ConfigError(
                f"cannot probe {first.path} and {run.path} together: they read different texts. "
                "Probe them one by one"
            )
        if run_name(run) in names:
            raise ConfigError(
                f"cannot probe two runs with the name {run_name(run)}: rename one's directory"
            )
        names.add(run_name(run))
        cell, digest = cell_label(run.record.config.cell), run.record.cell_sha256
        if cell_digests.setdefault(cell, digest) != digest:
            raise ConfigError(
                f"cannot probe two different cells with the name {cell} together. "
                "Probe their runs one by one"
            )


def initialize_output_dir(directory: Path, runs: Sequence[Run], request: ProbeRequest) -> None:
    """Mark a directory as one of probe results.

    Results of one run are in the directory itself, those of several in a subdirectory each, so that
    further runs can be added.

    Raises:
        OutputExistsError: It has results of another request.
    """
    marker = ProbeMarker(
        format=FORMAT_VERSION,
        request=request,
        run=run_name(runs[0]) if len(runs) == 1 else "",
        corpus_sha256=runs[0].record.text.digest.sha256,
    )
    path = directory / MARKER_FILE
    if not path.exists():
        files.write_atomic(path, encode_json(marker))
    elif decode_json(read_bytes(path), ProbeMarker, path) != marker:
        raise OutputExistsError(
            f"cannot write to {directory}: it has results of other settings or runs. "
            "Choose another --out"
        )
