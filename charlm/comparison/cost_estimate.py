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

from charlm.cells.names import cell_label
from charlm.comparison.budget_matching import BudgetMatch
from charlm.comparison.plan import PlannedRun
from charlm.config import FORMAT_VERSION, Config
from charlm.data.corpus import Corpus
from charlm.errors import StorageError
from charlm.evaluation.scoring import VALIDATION_TOKENS, iter_token_nll, validation_bpc
from charlm.execution.device import available_memory
from charlm.execution.jobs import Job, JobProgress, LocalExecutor, describe_executor, run_jobs
from charlm.progress import ProgressCallback
from charlm.models.build import build_char_lm, select_kernel
from charlm.models.cost import estimate_training_memory
from charlm.runs.run import RECENT_CHECKPOINTS
from charlm.storage import files
from charlm.training.budget import measure_step_time, resolve_max_steps, validation_interval

# Bytes of a process before it has a model. CUDA's was not measured, for want of a GPU.
PROCESS_OVERHEAD_BYTES = {"cpu": 400_000_000, "cuda": 800_000_000}
TIMING_TOKENS = 4096  # symbols that are read to time a reading
METRICS_BYTES_PER_UPDATE = 192  # bytes of an update in metrics.jsonl, at most
CHECKPOINT_HEADER_BYTES = 1 << 14  # bytes of a checkpoint that are not numbers, at most
OTHER_FILES_BYTES = 1 << 17  # bytes of all other files of a run, at most


def estimate_cost(
    every: Mapping[str, Sequence[PlannedRun]],
    footing: BudgetMatch,
    corpus: Corpus,
    place: Path,
    here: LocalExecutor,
    tick: ProgressCallback = lambda _: None,
) -> dict[str, Any]:
    """The plan: each run with what is left of it, and their sums.

    every: the runs, by what they are for. seconds: as each cell, alone on this machine, takes now,
    with those that its process takes to begin and to end; memory and disk: bytes.
    """
    start = measure_startup_time(here.device)
    symbols = corpus.vocabulary.size
    cells: dict[Any, tuple[dict[str, Any], Throughput]] = {}
    runs: list[dict[str, Any]] = []
    for purpose, planned in every.items():
        for one in planned:
            config, progress = one.config, one.progress()
            kind = config.cell, config.block, config.num_layers, config.hidden_size
            if kind not in cells:
                pace = measure_throughput(config, corpus, here.device)
                tick(1)
                cells[kind] = (
                    {
                        "cell": cell_label(config.cell),
                        "purpose": purpose,
                        "hidden_size": config.hidden_size,
                        "parameters": one.parameters,
                        "flops_per_character": one.flops_per_character,
                        "state_size": one.state_size,
                        "seconds_per_million": 1e6
                        * pace.seconds_per_step
                        / (config.batch_size * config.seq_len),
                        "residual": footing.relative_errors.get(config.cell),
                    },
                    pace,
                )
            _, pace = cells[kind]
            share = 1.0 if progress.status else progress.done / max(1, progress.total)
            runs.append(
                {
                    "run": f"{one.path.parent.name}/{one.path.name}",
                    "purpose": purpose,
                    "cell": cell_label(config.cell),
                    "seed": config.seed,
                    "hidden_size": config.hidden_size,
                    "parameters": one.parameters,
                    "status": progress.status or ("begun" if progress.done else "to do"),
                    "done": share,
                    "seconds": 0.0
                    if progress.status
                    else start + pace.run_seconds(config, corpus) * (1 - share),
                    "memory": estimate_memory(config, symbols, here.device),
                    "disk": estimate_disk(one, corpus),
                }
            )
    left = [run for run in runs if run["status"] not in ("done", "diverged")]
    found, said = fit_to_memory(here, [run["memory"] for run in left or runs])
    side_by_side = found.max_parallel
    return {
        "format": FORMAT_VERSION,
        "equal": footing.facts,
        "side_by_side": side_by_side,
        "where": said,
        "starting": start,
        "cells": [cell for cell, _ in cells.values()],
        "runs": runs,
        "left": {
            "runs": len(left),
            "seconds": makespan((run["seconds"] for run in left), side_by_side),
            "memory": sum(sorted(run["memory"] for run in left)[-side_by_side:]),
            "disk": sum(run["disk"] for run in left),
        },
        "free": {"memory": available_memory(here.device), "disk": files.free_bytes(place)},
    }


def measure_startup_time(where: str) -> float:
    """Seconds of a process that has next to nothing to train, as the work's other jobs are."""
    with TemporaryDirectory() as name:
        place = Path(name).absolute()
        (place / "text").write_text("to be or not to be, " * 9)
        words = ["train", str(place / "text"), "--run", str(place / "run"), f"--device={where}"]
        words += ["--cell=rnn", "--kernel=loop", "--hidden-size=4", "--batch-size=1", "--seq-len=2"]
        job = Job("a run to time", place / "run", [*words, "--max-steps=1"], JobProgress)
        begun = perf_counter()
        deque(run_jobs([job], place, LocalExecutor(1, where), lambda: False), maxlen=0)
        return perf_counter() - begun


class Throughput(NamedTuple):
    """Seconds: of an update, of a character that is looked at in validation, of one scored."""

    seconds_per_step: float
    seconds_per_validation_token: float
    seconds_per_scored_token: float

    def run_seconds(self, config: Config, corpus: Corpus) -> float:
        """Of a run from its first update to its score."""
        updates = resolve_max_steps(config, corpus.split("train"))
        looks = math.ceil(updates / validation_interval(config, updates))
        looked = (
            looks
            * min(len(corpus.split("valid")), VALIDATION_TOKENS)
            * self.seconds_per_validation_token
        )
        scored = (
            0
            if config.final_eval == "none"
            else len(corpus.split(config.final_eval)) * self.seconds_per_scored_token
        )
        return updates * self.seconds_per_step + looked + scored


def measure_throughput(config: Config, corpus: Corpus, device: str) -> Throughput:
    """A scratch model, for a moment each."""
    kernel, _ = select_kernel(config, device)
    symbols, train = corpus.vocabulary.size, corpus.split("train")
    updates = resolve_max_steps(config, train)
    each = measure_step_time(config, updates, symbols, kernel, device, train)
    model = build_char_lm(config, symbols, kernel, device)
    ids = corpus.split("valid")[:TIMING_TOKENS]
    begun = perf_counter()
    validation_bpc(model, ids, corpus.vocabulary)
    looked = perf_counter()
    deque(iter_token_nll(model, ids[:, None], corpus.vocabulary), maxlen=0)
    scored = perf_counter()
    return Throughput(each, (looked - begun) / len(ids), (scored - looked) / len(ids))


def estimate_memory(config: Config, symbols: int, device: str) -> int:
    """Bytes that the process of a run takes, about."""
    return (
        estimate_training_memory(config, symbols) + PROCESS_OVERHEAD_BYTES[device.partition(":")[0]]
    )


def estimate_disk(planned: PlannedRun, corpus: Corpus) -> int:
    """Bytes that the run will still write: checkpoints, one more than are kept, and a line an
    update."""
    if planned.progress().status:
        return 0
    config = planned.config
    # Weights and two moments; the state of each stream. The best is kept beside the newest.
    checkpoint = (
        4 * (3 * planned.parameters + config.batch_size * planned.state_size)
        + CHECKPOINT_HEADER_BYTES
    )
    whole = (
        (RECENT_CHECKPOINTS + 2) * checkpoint
        + METRICS_BYTES_PER_UPDATE * resolve_max_steps(config, corpus.split("train"))
        + OTHER_FILES_BYTES
    )
    there = (file.stat().st_size for file in planned.path.rglob("*") if file.is_file())
    return max(0, whole - sum(there))


def check_disk_space(place: Path, needed: int) -> None:
    """A disk that is too small for what is left ends here, before anything is begun."""
    if needed > (free := files.free_bytes(place)):
        raise StorageError(
            f"the runs that are left need about {needed / 1e6:,.1f} MB at {place}, and "
            f"{free / 1e6:,.1f} MB are free there: make room, or name another place with --out"
        )


def fit_to_memory(here: LocalExecutor, needs: Sequence[int]) -> tuple[LocalExecutor, str]:
    """So many runs side by side, and that in words: no more than asked for, and than fit into the
    device's memory, whichever they are. needs: bytes of each."""
    available = available_memory(here.device)
    fit = sum(need <= available for need in accumulate(sorted(needs, reverse=True)))
    found = LocalExecutor(max(1, min(here.max_parallel, fit)), here.device)
    said = describe_executor(found)
    if fit < min(here.max_parallel, len(needs)):
        said += f": no more fit into {available / 1e9:,.1f} GB"
    return found, said


def makespan(seconds: Iterable[float], side_by_side: int) -> float:
    """How long jobs take that are begun in this order, so many at a time."""
    ends = [0.0] * side_by_side
    for one in seconds:
        heapq.heapreplace(ends, ends[0] + one)
    return max(ends)
