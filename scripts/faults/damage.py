"""Damage: flipped bits and truncations of every file of runs, which must be found and named."""

import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import charlm
from charlm.errors import CharlmError, DataError
from charlm.runs.checkpoint_files import read_checkpoint_files
from charlm.runs.metrics import iter_events, iter_metrics
from charlm.runs.run import Run
from faults import processes
from faults.hazard import Hazard

REAL_FLIPS = 10_000
SMALLEST = ["--hidden-size", "2", "--embedding-dim", "1", "--batch-size", "1", "--seq-len", "4"]
REAL = ["--hidden-size", "128", "--embedding-dim", "32", "--batch-size", "8", "--seq-len", "32"]


def run(scale: float) -> Hazard:
    """Flip bits of every file and cut each at every length; see that each time it is found."""
    started = processes.cpu_seconds()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        processes.warm_up(directory)
        damage = Damage(random.Random(3))
        small, real = _train(directory / "small", 3, SMALLEST), _train(directory / "real", 6, REAL)
        sizes = {path: path.stat().st_size for path in _files(small)}
        for path, size in sizes.items():
            flips = [(position, bit) for position in range(size) for bit in range(8)]
            for position, bit in damage.choose(flips, scale):
                damage.flip(small, path, position, bit)
            for length in damage.choose(range(size), scale):
                damage.cut(small, path, length)
        sizes = {path: path.stat().st_size for path in _files(real)}
        for path in damage.rng.choices(list(sizes), k=max(len(sizes), round(REAL_FLIPS * scale))):
            damage.flip(real, path, damage.rng.randrange(sizes[path]), damage.rng.randrange(8))
        for path in (small / "checkpoints").glob("step-*3/*"):
            damage.fall_back(small, path)
    return Hazard(
        "damaged files",
        "every bit of every file of a small run flipped, every file cut at every length, and "
        f"{REAL_FLIPS:,} flips in a run of 128 units: found, and the file named; the checkpoint "
        "before is used. Not covered by a hash: the lock, which nothing depends on",
        damage.trials,
        tuple(damage.failures),
        processes.cpu_seconds() - started,
    )


def _train(path: Path, steps: int, sizes: list[str]) -> Path:
    processes.write_prose(path.parent / "text.txt", 6000)
    ended = processes.run(processes.train_command(path, steps, *sizes), path.parent)
    if ended.code:
        raise RuntimeError(ended.errors)
    return path


def _files(run_dir: Path) -> list[Path]:
    """Return the files of a run but its lock."""
    return [path for path in sorted(run_dir.rglob("*")) if path.is_file() and path.name != "lock"]


def _read(run_: Run, path: Path) -> None:
    """Read a file of a run as every command does.

    Raises:
        CharlmError: It is damaged.
    """
    run_dir = run_.path
    if path.name == "metrics.jsonl":
        list(iter_metrics(run_dir))
    elif path.name == "events.jsonl":
        list(iter_events(run_dir))
    elif path.name == "report.json":
        assert run_.report
    elif path.parent == run_dir:
        found = Run(run_dir)
        found.reader.read(max(found.checkpoints.values()))
    else:
        read_checkpoint_files(path.parent, run_dir)


class Damage:
    """Damages to files, one at a time, and what was not found."""

    def __init__(self, rng: random.Random) -> None:
        """Create it."""
        self.rng = rng
        self.runs: dict[Path, Run] = {}
        self.trials = 0
        self.failures: list[str] = []

    def choose(self, items: Sequence[Any], scale: float) -> Sequence[Any]:
        """Return all items at scale 1, else some at random."""
        return items if scale >= 1 else self.rng.sample(items, max(1, round(len(items) * scale)))

    def flip(self, run_dir: Path, path: Path, position: int, bit: int) -> None:
        """Flip a bit, and read the file; each hundredth time, verify the run."""
        if run_dir not in self.runs:
            self.runs[run_dir] = Run(run_dir)
        data = path.read_bytes()
        changed = data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :]
        read: Callable[[], None] = lambda: _read(self.runs[run_dir], path)  # noqa: E731
        if self.trials % 100 == 0:
            read = lambda: _verify(run_dir)  # noqa: E731
        self._try(path, data, changed, read, f"byte {position}, bit {bit}")

    def cut(self, run_dir: Path, path: Path, length: int) -> None:
        """Cut a file, and read it; of a log, verify the run."""
        data = path.read_bytes()
        read: Callable[[], None] = lambda: _read(self.runs[run_dir], path)  # noqa: E731
        if path.suffix == ".jsonl":  # whole lines may be missing
            read = lambda: _verify(run_dir)  # noqa: E731
        self._try(path, data, data[:length], read, f"cut to {length} bytes")

    def fall_back(self, run_dir: Path, path: Path) -> None:
        """Damage a file of the newest checkpoint; the one before must be used."""
        data, newest = path.read_bytes(), max(Run(run_dir).checkpoints)
        path.write_bytes(data[:-1])
        self.trials += 1
        if processes.newest_step(run_dir) != newest - 1:
            self.failures.append(f"{path.name}: step {newest - 1} is not used instead")
        path.write_bytes(data)

    def _try(
        self, path: Path, data: bytes, changed: bytes, read: Callable[[], None], what: str
    ) -> None:
        self.trials += 1
        path.write_bytes(changed)
        try:
            read()
        except CharlmError as error:
            named = path.name in str(error) or path.parent.name in str(error)
            problem = "" if named else f"not named: {error}"
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        else:
            problem = "not found"
        if problem:
            self.failures.append(f"{path.parent.name}/{path.name}, {what}: {problem}")
        path.write_bytes(data)


def _verify(run_dir: Path) -> None:
    """Raise what `charlm verify` finds wrong with a run."""
    found = charlm.verify(run_dir)
    if not found.intact:
        raise DataError(" ".join(f"{p.file}: {p.text}" for p in found.runs[0].problems))
