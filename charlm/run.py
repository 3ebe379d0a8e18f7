"""A run is a directory: what was asked, the alphabet, what happened, checkpoints, the report.

run.json        settings, corpus, what `auto` became, who made it; never changes
alphabet.json   the symbols: a run can be moved and sent
metrics.jsonl   one line an update or validation; the same bytes however often it was resumed
events.jsonl    starts, saves and stops, with times
checkpoints/    update-00000100/{model,training}.safetensors, progress.json, manifest.json
report.json     the final numbers; its existence means "finished"
diverged.json   instead: why there will be none
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import msgspec

from charlm import checkpoint, durable, zoo
from charlm.alphabet import Alphabet
from charlm.checkpoint import Checkpoint, Progress, Tensors, decoded, read, readable
from charlm.config import FORMAT, Config
from charlm.corpus import Text
from charlm.errors import BadConfig, BadData, Exists, Locked, Missing

KEPT = 2  # newest checkpoints kept beside the best: one may be damaged


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """run.json: what decides the run, and what was decided when it was made."""

    format: int
    config: Config
    text: Text
    updates: int  # the budget, whatever it was given in
    kernel: str
    kernel_why: str
    cell_sha256: str = ""  # of the file, where the cell is the person's own
    parameters: int
    state_size: int  # floats carried per stream
    made_by: dict[str, str]

    def facts(self) -> dict[str, Any]:
        """What a report says of any run, however it ended."""
        config = self.config
        return {
            "cell": config.cell,
            "hidden": config.hidden,
            "layers": config.layers,
            "parameters": self.parameters,
            "state_size": self.state_size,
            "seed": config.seed,
        }


class Run:
    """A run directory that exists."""

    def __init__(self, path: Path) -> None:
        """Reads what never changes; raises Missing or BadData when it is not there or not sound."""
        self.path = path
        if not path.is_dir():
            raise Missing(f"there is no run {path}: name a directory that charlm train has made")
        if not (path / "run.json").exists():
            raise Missing(f"{path} is not a run: it has no run.json")
        self.decided = {name: read(path / name) for name in checkpoint.DECIDED}
        data = self.decided["run.json"]
        known = decoded(data, dict[str, Any], path / "run.json").get("format")
        if known != FORMAT:
            raise BadConfig(
                f"{path} has format {known}, and this charlm reads format {FORMAT}: "
                "use the charlm that made it"
            )
        self.record = decoded(data, Record, path / "run.json")
        self.alphabet = decoded(self.decided["alphabet.json"], Alphabet, path / "alphabet.json")

    def admit(self, cell: str) -> None:
        """Before its model is made: loads a cell in a file, if the person names it now, as `cell`;
        the settings then have it under that name, for the file may have been moved."""
        record = self.record
        admitted = zoo.admit(record.config.cell, record.cell_sha256, cell)
        config = msgspec.structs.replace(record.config, cell=admitted)
        self.record = msgspec.structs.replace(record, config=config)

    @staticmethod
    def make(path: Path, record: Record, alphabet: Alphabet) -> "Run":
        """A new run in this directory, which the caller has locked."""
        durable.make_directory(path / "checkpoints")
        durable.write_file(path / "alphabet.json", readable(alphabet))
        durable.write_file(path / "run.json", readable(record))  # last: with it, it is a run
        return Run(path)

    @property
    def checkpoints(self) -> dict[int, Path]:
        """The checkpoints by update, oldest first, sound or not."""
        found = (self.path / "checkpoints").glob("update-*")
        return dict(sorted((int(p.name[7:]), p) for p in found if p.name[7:].isdecimal()))

    @property
    def report(self) -> dict[str, Any] | None:
        """The final numbers; None while the run is not finished."""
        path = self.path / "report.json"
        return decoded(read(path), dict[str, Any], path) if path.exists() else None

    def finish(self, report: Mapping[str, Any]) -> None:
        durable.write_file(self.path / "report.json", readable(report))

    @property
    def diverged(self) -> bool:
        """Whether training ended because the loss was no longer finite."""
        return (self.path / "diverged.json").exists()

    def diverge(self, why: str) -> None:
        """So that a comparison need not find it out again."""
        durable.write_file(self.path / "diverged.json", readable({"why": why}))

    def save(self, progress: Progress, tensors: Tensors) -> Path:
        """A checkpoint, whole or not at all; then all but the best and the newest go."""
        place = checkpoint.write(self.path / "checkpoints", progress, tensors, self.decided)
        self._prune(progress)
        return place

    def _prune(self, progress: Progress) -> None:
        kept = {progress.best_update, *list(self.checkpoints)[-KEPT:]}
        for update, path in self.checkpoints.items():
            if update not in kept:
                durable.remove(path)

    def forget_after(self, update: int) -> None:
        """Damaged checkpoints of updates that will be done again go."""
        for later, path in self.checkpoints.items():
            if later > update:
                durable.remove(path)

    def load(self, which: str, say: Callable[[str], None]) -> Checkpoint:
        """The best or last checkpoint, every hash verified; else the newest sound one, said so."""
        sound: dict[int, Checkpoint] = {}
        problems = []
        for update, path in reversed(self.checkpoints.items()):
            try:
                sound[update] = checkpoint.load(path, self.path)
            except BadData as error:
                problems.append(str(error))
                continue
            if which == "last":
                break
        if not sound:
            raise BadData(
                problems[0] + "; no other checkpoint is sound: train the run again"
                if problems
                else f"{self.path} has no checkpoint yet: let charlm train reach its first"
            )
        newest = sound[max(sound)]
        chosen = newest.progress.best_update if which == "best" else newest.progress.update
        found = sound.get(newest.progress.update if chosen is None else chosen, newest)
        for problem in problems:
            say(f"{problem}; going on with update {found.progress.update}")
        return found


def is_run(path: Path) -> bool:
    return (path / "run.json").exists()


def refuse_existing(path: Path) -> None:
    """A directory is not overwritten unless all in it is what a killed start left: no run yet."""
    begun = {"lock", "alphabet.json", "checkpoints"}
    if not path.exists():
        return
    if not path.is_dir():
        raise Exists(f"{path} is a file: name another place")
    left = [p.name for p in path.iterdir() if not p.name.startswith(durable.TEMPORARY)]
    if set(left) - begun:
        raise Exists(f"{path} exists: continue it with --resume, or name another place")


@contextmanager
def writer(path: Path) -> Iterator[None]:
    """The only writer of this directory until the block ends or the process dies."""
    made = not path.exists()
    durable.make_directory(path)
    lock = filelock.FileLock(path / "lock")
    with durable.disk("write", path / "lock"):
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            owner = (path / "lock").read_text(errors="replace")[:100] or "unknown"
            raise Locked(
                f"{path} is being written by another process ({owner}): wait for it, or stop it"
            ) from None
    try:
        (path / "lock").write_text(f"process {os.getpid()} on {os.uname().nodename}")
        durable.sweep(path)
        durable.sweep(path / "checkpoints")
        yield
    finally:
        if made and [p.name for p in path.iterdir()] == ["lock"]:  # nothing came of it
            (path / "lock").unlink()
            path.rmdir()
        lock.release()


def now() -> float:
    return round(time.time(), 3)
