"""Which runs make a fair comparison, and doing them side by side, each in a process of its own.

What is right lives in the run directories, not here: a worker that dies is started again where its
last checkpoint left it, and nothing is done twice.
"""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from charlm import durable
from charlm.config import FORMAT, Config, arguments, checked
from charlm.encoder import Digest
from charlm.errors import BadConfig, CharlmError, NonFinite
from charlm.evaluate import PROTOCOL
from charlm.model import size
from charlm.report import Report, curve, draw_curves, ranked, row
from charlm.run import Run, is_run

TOLERANCE = 100  # a model misses the number of parameters by one hundredth of it at most
WORKER = "CHARLM_PARENT"  # tells a worker who started it: it stops when that process is gone


@dataclass(frozen=True)
class Planned:
    """One run of a comparison, and where it is kept: named by what decides it."""

    config: Config
    path: Path
    parameters: int
    state_size: int

    @property
    def name(self) -> str:
        return f"{self.config.cell} seed {self.config.seed}"


def kept_standard_input(names: Sequence[str], place: Path) -> list[str]:
    """The names, standard input laid down as a file: workers must read it too, now and later."""
    if "-" not in names:
        return list(names)
    kept = place / "standard-input.txt"
    data = sys.stdin.buffer.read()
    if data or not kept.exists():
        durable.write_file(kept, data)
    return [str(kept) if name == "-" else name for name in names]


def hidden_for(config: Config, symbols: int, parameters: int) -> int:
    """The hidden size with which this cell comes nearest to the number of parameters."""

    def count(hidden: int) -> int:
        width = {"embedding": hidden} if config.tie else {}
        sized, _ = size(msgspec.structs.replace(config, hidden=hidden, **width), symbols)
        return sized

    low, high = 1, 2
    while count(high) < parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < parameters else (low, middle)
    hidden = min((low, high), key=lambda h: abs(count(h) - parameters))
    if abs(count(hidden) - parameters) * TOLERANCE > parameters:
        raise BadConfig(
            f"--parameters {parameters}: the nearest {config.cell} has {count(hidden):,} "
            f"(hidden {hidden}), more than 1 % off: no equal footing. "
            "Choose more parameters or a smaller --embedding"
        )
    return hidden


def plan(
    settings: dict[str, Any],
    cells: Sequence[str],
    seeds: int,
    parameters: int,
    text: Digest,
    symbols: int,
    place: Path,
) -> list[Planned]:
    """The runs of a comparison: a pure function of its arguments. Seeds go round first."""
    hidden = {
        cell: hidden_for(checked({**settings, "cell": cell, "hidden": 1}), symbols, parameters)
        for cell in dict.fromkeys(cells)
    }
    planned = []
    for seed in range(seeds):
        for cell, units in hidden.items():
            width = {"embedding": units} if settings.get("tie") else {}
            config = checked({**settings, **width, "cell": cell, "hidden": units, "seed": seed})
            deciding = msgspec.json.encode((arguments(config, free=False), text))
            name = f"{cell}-s{seed}-{hashlib.sha256(deciding).hexdigest()[:8]}"
            planned.append(Planned(config, place / "runs" / name, *size(config, symbols)))
    return planned


@dataclass
class State:
    """How far a run of the comparison is."""

    planned: Planned
    status: str = "waiting"  # running, done, diverged
    update: int = 0
    updates: int = 0
    bits: float | None = None  # last quick validation

    def look(self) -> None:
        """Read how far it is from its directory: no worker needs to tell."""
        if not is_run(self.planned.path):
            return
        run = Run(self.planned.path)
        self.updates = run.record.updates
        if run.report:
            self.status, self.update = "done", self.updates
        try:
            with (run.path / "metrics.jsonl").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 65536))
                lines = file.read().splitlines()[:-1]  # the last may be half written
        except FileNotFoundError:
            return
        for line in lines[1:]:
            record = msgspec.json.decode(line)
            self.update = record["update"]
            self.bits = record.get("valid_bits", self.bits)


def work(
    planned: Sequence[Planned],
    corpus: Sequence[str],
    place: Path,
    jobs: int,
    stop: Callable[[], int],
) -> Iterator[list[State]]:
    """Do what is not done, `jobs` at a time; yields the state of all runs a few times a second.

    When `stop` says so the workers are told, save, and are waited for.
    """
    states = [State(one) for one in planned]
    for state in states:
        state.look()
    waiting = [state for state in states if state.status != "done"]
    running: dict[subprocess.Popen[bytes], State] = {}
    durable.make_directory(place / "logs")
    try:
        while waiting or running:
            while waiting and len(running) < jobs and not stop():
                state = waiting.pop(0)
                running[_start(state.planned, corpus, place)] = state
                state.status = "running"
            if stop():
                for worker in running:
                    worker.send_signal(signal.SIGTERM)
                for worker in running:
                    worker.wait()
                return
            time.sleep(0.2)
            for worker, state in list(running.items()):
                state.look()
                code = worker.poll()
                if code is not None:
                    del running[worker]
                    state.status = _ended(code, state.planned, place)
            yield states
    finally:
        for worker in running:
            worker.terminate()
    yield states


def _log(planned: Planned, place: Path) -> Path:
    return place / "logs" / f"{planned.path.name}.log"


def _start(planned: Planned, corpus: Sequence[str], place: Path) -> "subprocess.Popen[bytes]":
    """`charlm train` in a process of its own, with a session of its own: Ctrl-C reaches only us."""
    command = [sys.executable, "-m", "charlm", "train", *corpus, *arguments(planned.config)]
    command += ["--run", str(planned.path), "--resume", "--log-every", "60"]
    with _log(planned, place).open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
            env={**os.environ, WORKER: str(os.getpid())},
        )


def _ended(code: int, planned: Planned, place: Path) -> str:
    """What a worker's exit code says of its run; any failure but divergence ends the comparison."""
    if code == 0:
        return "done"
    if code == NonFinite.code:
        return "diverged"
    lines = _log(planned, place).read_text(errors="replace").strip().splitlines()
    problem = WorkerFailed(
        f"{planned.name}: {lines[-1].removeprefix('charlm: ') if lines else code}"
    )
    problem.code = code if code > 0 else CharlmError.code
    raise problem


class WorkerFailed(CharlmError):
    """A run of a comparison failed; its exit code is ours."""


def orphaned() -> bool:
    """Whether the comparison that started this process is gone."""
    parent = os.environ.get(WORKER)
    return parent is not None and os.getppid() != int(parent)


def report_of(planned: Planned) -> Report:
    """The report of a run; of a diverged one, what is known of it without a score."""
    run = Run(planned.path)
    if report := run.report:
        return report
    config, record = run.record.config, run.record
    return {
        "cell": config.cell,
        "hidden": config.hidden,
        "layers": config.layers,
        "parameters": record.parameters,
        "state_size": record.state_size,
        "seed": config.seed,
        "score": None,
    }


def conclude(planned: Sequence[Planned], parameters: int, place: Path) -> Report:
    """The report of a comparison whose runs have ended, written as report.json and curves.png."""
    cells = list(dict.fromkeys(one.config.cell for one in planned))
    of = {cell: [one for one in planned if one.config.cell == cell] for cell in cells}
    rows = [row([report_of(one) for one in of[cell]], parameters) for cell in cells]
    run = Run(planned[0].path)
    text = run.record.text
    report = {
        "format": FORMAT,
        "protocol": PROTOCOL,
        "corpus": {
            "sources": text.sources,
            "sha256": text.digest.sha256,
            "characters": text.characters,
            "splits": text.splits,
        },
        "equal": {"parameters": parameters, "updates": run.record.updates, "order": "by seed"},
        "settings": msgspec.to_builtins(run.record.config),
        "made_by": run.record.made_by,
        "rows": ranked(rows),
    }
    curves = {cell: [curve(one.path) for one in of[cell]] for cell in cells}
    title = f"{parameters:,} parameters, corpus {text.digest.sha256[:12]}"
    durable.write_file(place / "curves.png", draw_curves(curves, title))
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=2)
    durable.write_file(place / "report.json", encoded + b"\n")
    return report
