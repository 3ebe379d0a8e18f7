"""What the runs of a comparison will take: seconds, memory and disk, before any is begun."""

import heapq
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, NamedTuple

from charlm import durable
from charlm.compare import Planned
from charlm.config import FORMAT, Config, label
from charlm.corpus import Corpus
from charlm.encoder import Tick
from charlm.errors import DiskFailure
from charlm.evaluate import QUICK_CHARACTERS, costs, quick_bits
from charlm.machine import memory_available
from charlm.match import Footing
from charlm.model import make, memory, resolve_kernel
from charlm.run import KEPT
from charlm.train import looks_every, seconds_per_update, updates_of
from charlm.workers import Job, Local, Progress, told, work

# Bytes of a process before it has a model. CUDA's was not measured, for want of a GPU.
PROCESS = {"cpu": 400_000_000, "cuda": 800_000_000}
MOMENT = 4096  # symbols that are read to time a reading
LINE = 192  # bytes of an update in metrics.jsonl, at most
HEADS = 1 << 14  # bytes of a checkpoint that are not numbers, at most
SMALL = 1 << 17  # bytes of all other files of a run, at most


def forecast(
    every: Mapping[str, Sequence[Planned]],
    footing: Footing,
    corpus: Corpus,
    place: Path,
    here: Local,
    tick: Tick = lambda _: None,
) -> dict[str, Any]:
    """The plan: each run with what is left of it, and their sums.

    every: the runs, by what they are for. seconds: as each cell, alone on this machine, takes now,
    with those that its process takes to begin and to end; memory and disk: bytes.
    """
    start = starting(here.where)
    symbols = corpus.alphabet.size
    cells: dict[Any, tuple[dict[str, Any], Pace]] = {}
    runs: list[dict[str, Any]] = []
    for purpose, planned in every.items():
        for one in planned:
            config, progress = one.config, one.look()
            kind = config.cell, config.block, config.layers, config.hidden
            if kind not in cells:
                pace = pace_of(config, corpus, here.where)
                tick(1)
                cells[kind] = (
                    {
                        "cell": label(config.cell),
                        "purpose": purpose,
                        "hidden": config.hidden,
                        "parameters": one.parameters,
                        "flops_per_character": one.flops_per_character,
                        "state_size": one.state_size,
                        "seconds_per_million": 1e6 * pace.update / (config.batch * config.time),
                        "residual": footing.residual.get(config.cell),
                    },
                    pace,
                )
            _, pace = cells[kind]
            share = 1.0 if progress.ended else progress.done / max(1, progress.whole)
            runs.append(
                {
                    "run": f"{one.path.parent.name}/{one.path.name}",
                    "purpose": purpose,
                    "cell": label(config.cell),
                    "seed": config.seed,
                    "hidden": config.hidden,
                    "parameters": one.parameters,
                    "status": progress.ended or ("begun" if progress.done else "to do"),
                    "done": share,
                    "seconds": 0.0
                    if progress.ended
                    else start + pace.whole(config, corpus) * (1 - share),
                    "memory": memory_of(config, symbols, here.where),
                    "disk": disk_left(one, corpus),
                }
            )
    left = [run for run in runs if run["status"] not in ("done", "diverged")]
    found, said = packed(here, [run["memory"] for run in left or runs])
    side_by_side = found.side_by_side
    return {
        "format": FORMAT,
        "equal": footing.facts,
        "side_by_side": side_by_side,
        "where": said,
        "starting": start,
        "cells": [cell for cell, _ in cells.values()],
        "runs": runs,
        "left": {
            "runs": len(left),
            "seconds": together((run["seconds"] for run in left), side_by_side),
            "memory": sum(sorted(run["memory"] for run in left)[-side_by_side:]),
            "disk": sum(run["disk"] for run in left),
        },
        "free": {"memory": memory_available(here.where), "disk": durable.free(place)},
    }


def starting(where: str) -> float:
    """Seconds of a process that has next to nothing to train, as the work's other jobs are."""
    with TemporaryDirectory() as name:
        place = Path(name).absolute()
        (place / "text").write_text("to be or not to be, " * 9)
        words = ["train", str(place / "text"), "--run", str(place / "run"), f"--device={where}"]
        words += ["--cell=rnn", "--kernel=loop", "--hidden=4", "--batch=1", "--time=2"]
        job = Job("a run to time", place / "run", [*words, "--updates=1"], Progress)
        begun = perf_counter()
        deque(work([job], place, Local(1, where), lambda: False), maxlen=0)
        return perf_counter() - begun


class Pace(NamedTuple):
    """Seconds: of an update, of a character that is looked at in validation, of one scored."""

    update: float
    looked: float
    scored: float

    def whole(self, config: Config, corpus: Corpus) -> float:
        """Of a run from its first update to its score."""
        updates = updates_of(config, corpus.split("train"))
        looks = math.ceil(updates / looks_every(config, updates))
        looked = looks * min(len(corpus.split("valid")), QUICK_CHARACTERS) * self.looked
        scored = 0 if config.final == "none" else len(corpus.split(config.final)) * self.scored
        return updates * self.update + looked + scored


def pace_of(config: Config, corpus: Corpus, device: str) -> Pace:
    """A scratch model, for a moment each."""
    kernel, _ = resolve_kernel(config, device)
    symbols, train = corpus.alphabet.size, corpus.split("train")
    updates = updates_of(config, train)
    each = seconds_per_update(config, updates, symbols, kernel, device, train)
    model = make(config, symbols, kernel, device)
    ids = corpus.split("valid")[:MOMENT]
    begun = perf_counter()
    quick_bits(model, ids, corpus.alphabet)
    looked = perf_counter()
    deque(costs(model, ids[:, None], corpus.alphabet), maxlen=0)
    scored = perf_counter()
    return Pace(each, (looked - begun) / len(ids), (scored - looked) / len(ids))


def memory_of(config: Config, symbols: int, device: str) -> int:
    """Bytes that the process of a run takes, about."""
    return memory(config, symbols) + PROCESS[device.partition(":")[0]]


def disk_left(planned: Planned, corpus: Corpus) -> int:
    """Bytes that the run will still write: checkpoints, one more than are kept, and a line an
    update."""
    if planned.look().ended:
        return 0
    config = planned.config
    # Weights and two moments; the state of each stream. The best is kept beside the newest.
    checkpoint = 4 * (3 * planned.parameters + config.batch * planned.state_size) + HEADS
    whole = (KEPT + 2) * checkpoint + LINE * updates_of(config, corpus.split("train")) + SMALL
    there = (file.stat().st_size for file in planned.path.rglob("*") if file.is_file())
    return max(0, whole - sum(there))


def refuse_full(place: Path, needed: int) -> None:
    """A disk that is too small for what is left ends here, before anything is begun."""
    if needed > (free := durable.free(place)):
        raise DiskFailure(
            f"the runs that are left need about {needed / 1e6:,.1f} MB at {place}, and "
            f"{free / 1e6:,.1f} MB are free there: make room, or name another place with --out"
        )


def packed(here: Local, needs: Sequence[int]) -> tuple[Local, str]:
    """So many runs side by side, and that in words: no more than asked for, and than fit into the
    device's memory, whichever they are. needs: bytes of each."""
    available = memory_available(here.where)
    fit = sum(need <= available for need in accumulate(sorted(needs, reverse=True)))
    found = Local(max(1, min(here.side_by_side, fit)), here.where)
    said = told(found)
    if fit < min(here.side_by_side, len(needs)):
        said += f": no more fit into {available / 1e9:,.1f} GB"
    return found, said


def together(seconds: Iterable[float], side_by_side: int) -> float:
    """How long jobs take that are begun in this order, so many at a time."""
    ends = [0.0] * side_by_side
    for one in seconds:
        heapq.heapreplace(ends, ends[0] + one)
    return max(ends)
