"""What several commands do with what they were given."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from charlm import show
from charlm.config import parse_custom_cell
from charlm.errors import Interrupted
from charlm.signals import defer_signals

if TYPE_CHECKING:
    from charlm.checkpoint import Checkpoint
    from charlm.model import CharLM
    from charlm.probe import Probe
    from charlm.run import Run
    from charlm.workers import Executor, Job


def load_and_check_custom_cells(cells: Sequence[str], compared: bool = False) -> None:
    """Loads those of the cells that the person named in a file, and refuses one whose scores would
    mean nothing; compared: or whose FLOPs would."""
    if any(parse_custom_cell(cell) for cell in cells):
        from charlm import contract, zoo

        for cell in cells:
            if parse_custom_cell(cell):
                zoo.load_custom_cell(cell)
                contract.require(cell, [*contract.REQUIRED_CHECKS, *([contract.FLOPS] if compared else [])])


def find_cell_file(run: "Run", cells: Sequence[str]) -> str:
    """The file that has the run's cell: of those with its class, the one it was made of."""
    from charlm.zoo import custom_cell_sha256

    wanted = parse_custom_cell(run.record.config.cell)
    there = [cell for cell in cells if wanted and (parse_custom_cell(cell) or ("", ""))[1] == wanted[1]]
    same = [cell for cell in there if custom_cell_sha256(cell) == run.record.cell_sha256]
    return (same or there or [""])[0]


def make_paths_absolute(given: dict[str, Any]) -> dict[str, Any]:
    """The settings that are paths made absolute: a run must find its texts from anywhere."""
    from charlm.source import absolute_name

    texts = {name: given[name] for name in ("valid_text", "test_text") if given.get(name)}
    return {**given, **{name: absolute_name(path) for name, path in texts.items()}}


def load_model(
    run: "Run", which: str, kernel: str, device: str, threads: int
) -> "tuple[Checkpoint, CharLM]":
    """A checkpoint of a run, each hash verified, and the model with its weights.

    kernel: `auto` is this machine's fastest, whatever the run was trained with.
    """
    from charlm.machine import available_memory
    from charlm.model import load_weights, build_char_lm, check_memory, select_kernel, count_parameters_and_state

    here = msgspec.structs.replace(run.record.config, kernel=kernel, threads=threads)
    kernel, _ = select_kernel(here, device)
    parameters, _ = count_parameters_and_state(run.record.config, run.vocabulary.size)
    check_memory(available_memory(device), 8 * parameters)  # the file's, and the model's
    weights = run.load_checkpoint(which, show.print_message)
    model = build_char_lm(run.record.config, run.vocabulary.size, kernel, device)
    load_weights(model, weights.tensors)
    return weights, model


@contextmanager
def make_executor(kind: str, address: str, device: str, jobs: int, place: Path) -> "Iterator[Executor]":
    """Where the jobs in a directory, which the caller has locked, are done: `local` or `ray`."""
    from charlm.cluster import connect
    from charlm.workers import LocalExecutor

    if kind == "local":
        yield LocalExecutor(jobs, device)
    else:
        with connect(address or "auto", device, jobs, place) as cluster:
            if os.environ.get("RAY_AUTH_MODE") != "token":
                show.print_message(
                    f"note: the cluster at {cluster.address} asks for no token: whoever reaches "
                    "its ports can run programs on its machines (RAY_AUTH_MODE=token)"
                )
            yield cluster


class Execution(NamedTuple):
    """Where and how jobs are done."""

    directory: Path  # of their logs
    engine: "Executor"
    log_every: float


def run_jobs(jobs: "Sequence[Job]", work: Execution) -> None:
    """Has the jobs done, if there are any, and shows how they go."""
    if not jobs:
        return
    from charlm import workers
    from charlm.show import progress

    with defer_signals("what was begun is saving") as signalled:
        shown = progress.JobsProgress(work.log_every)
        try:
            for now in workers.run_jobs(jobs, work.directory, work.engine, lambda: bool(signalled)):
                shown.update(now)
        finally:
            shown.close()
    if signalled:
        raise Interrupted(signalled[0], "all is saved; the same command goes on")


def probe_comparison_runs(runs: "Sequence[Run]", work: Execution) -> dict[str, Any]:
    """Every probe asked of the runs of a comparison, on its device; on a GPU one run at a time."""
    from charlm.ask import select_probes
    from charlm.workers import LocalExecutor

    engine, words = work.engine, []
    if isinstance(engine, LocalExecutor):
        words = [f"--device={engine.device}"]
        engine = engine if engine.device == "cpu" else LocalExecutor(1, engine.device)
    return probe_runs(runs, select_probes([]), words, Execution(work.directory / "probes", engine, work.log_every))


def probe_runs(
    runs: "Sequence[Run]",
    wanted: "Sequence[Probe]",
    words: Sequence[str],
    work: Execution,
) -> dict[str, Any]:
    """Several runs, each probed by `charlm probe` in a process and a directory of its own; the
    report of them all. words: what that command is told besides."""
    from charlm import ask

    ask.check_same_text(runs)
    jobs = [ask.probe_job(run, work.directory, words, wanted) for run in runs]
    run_jobs(jobs, work)
    places = [job.path for job in jobs]
    told = [ask.load_run_summary(place) for place in places]
    report = ask.build_report(told, places, wanted, ["charlm", *sys.argv[1:]])
    ask.write_report(report, work.directory)
    return report
