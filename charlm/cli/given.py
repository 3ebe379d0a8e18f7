"""What several commands do with what they were given."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from charlm import show
from charlm.config import own
from charlm.errors import Interrupted
from charlm.signals import deferred

if TYPE_CHECKING:
    from charlm.checkpoint import Checkpoint
    from charlm.model import CharLM
    from charlm.probe import Probe
    from charlm.run import Run
    from charlm.workers import Engine, Job


def load_own(cells: Sequence[str], compared: bool = False) -> None:
    """Loads those of the cells that the person named in a file, and refuses one whose scores would
    mean nothing; compared: or whose FLOPs would."""
    if any(own(cell) for cell in cells):
        from charlm import contract, zoo

        for cell in cells:
            if own(cell):
                zoo.load(cell)
                contract.hold(cell, [*contract.SOUND, *([contract.FLOPS] if compared else [])])


def file_of(run: "Run", cells: Sequence[str]) -> str:
    """The file that has the run's cell: of those with its class, the one it was made of."""
    from charlm.zoo import digest

    wanted = own(run.record.config.cell)
    there = [cell for cell in cells if wanted and (own(cell) or ("", ""))[1] == wanted[1]]
    same = [cell for cell in there if digest(cell) == run.record.cell_sha256]
    return (same or there or [""])[0]


def from_anywhere(given: dict[str, Any]) -> dict[str, Any]:
    """The settings that are paths made absolute: a run must find its texts from anywhere."""
    from charlm.source import absolute

    texts = {name: given[name] for name in ("valid_text", "test_text") if given.get(name)}
    return {**given, **{name: absolute(path) for name, path in texts.items()}}


def with_weights(
    run: "Run", which: str, kernel: str, device: str, threads: int
) -> "tuple[Checkpoint, CharLM]":
    """A checkpoint of a run, each hash verified, and the model with its weights.

    kernel: `auto` is this machine's fastest, whatever the run was trained with.
    """
    from charlm.machine import memory_available
    from charlm.model import load_weights, make, refuse_more_than, resolve_kernel, size

    here = msgspec.structs.replace(run.record.config, kernel=kernel, threads=threads)
    kernel, _ = resolve_kernel(here, device)
    parameters, _ = size(run.record.config, run.alphabet.size)
    refuse_more_than(memory_available(device), 8 * parameters)  # the file's, and the model's
    weights = run.load(which, show.say)
    model = make(run.record.config, run.alphabet.size, kernel, device)
    load_weights(model, weights.tensors)
    return weights, model


@contextmanager
def engine_of(kind: str, address: str, device: str, jobs: int, place: Path) -> "Iterator[Engine]":
    """Where the jobs in a directory, which the caller has locked, are done: `local` or `ray`."""
    from charlm.cluster import joined
    from charlm.workers import Local

    if kind == "local":
        yield Local(jobs, device)
    else:
        with joined(address or "auto", device, jobs, place) as cluster:
            if os.environ.get("RAY_AUTH_MODE") != "token":
                show.say(
                    f"note: the cluster at {cluster.address} asks for no token: whoever reaches "
                    "its ports can run programs on its machines (RAY_AUTH_MODE=token)"
                )
            yield cluster


class Work(NamedTuple):
    """Where and how jobs are done."""

    place: Path  # of their logs
    engine: "Engine"
    log_every: float


def do(jobs: "Sequence[Job]", work: Work) -> None:
    """Has the jobs done, if there are any, and shows how they go."""
    if not jobs:
        return
    from charlm import workers
    from charlm.show import progress

    with deferred("what was begun is saving") as signalled:
        shown = progress.SideBySide(work.log_every)
        try:
            for now in workers.work(jobs, work.place, work.engine, lambda: bool(signalled)):
                shown.see(now)
        finally:
            shown.close()
    if signalled:
        raise Interrupted(signalled[0], "all is saved; the same command goes on")


def probes_of(runs: "Sequence[Run]", work: Work) -> dict[str, Any]:
    """Every probe asked of the runs of a comparison, on its device; on a GPU one run at a time."""
    from charlm.ask import chosen
    from charlm.workers import Local

    engine, words = work.engine, []
    if isinstance(engine, Local):
        words = [f"--device={engine.where}"]
        engine = engine if engine.where == "cpu" else Local(1, engine.where)
    return probed(runs, chosen([]), words, Work(work.place / "probes", engine, work.log_every))


def probed(
    runs: "Sequence[Run]",
    wanted: "Sequence[Probe]",
    words: Sequence[str],
    work: Work,
) -> dict[str, Any]:
    """Several runs, each probed by `charlm probe` in a process and a directory of its own; the
    report of them all. words: what that command is told besides."""
    from charlm import ask

    ask.refuse_other_texts(runs)
    jobs = [ask.job(run, work.place, words, wanted) for run in runs]
    do(jobs, work)
    places = [job.path for job in jobs]
    told = [ask.told_in(place) for place in places]
    report = ask.together(told, places, wanted, ["charlm", *sys.argv[1:]])
    ask.keep(report, work.place)
    return report
