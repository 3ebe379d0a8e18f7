"""Foreign sources: what a saved run names as its text must be that text, or nothing is kept."""

import lzma
import os
import random
import resource
import signal
import socket
import tempfile
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path

import msgspec

from faults import processes
from faults.hazard import Hazard
from faults.hostile_files import Files, read_tree, seal, write_tree
from faults.hostile_values import Json

LIMIT_SECONDS = 120  # of the clock, for a command that waits, however busy the machine is
CPU_SECONDS = 30
WRITTEN_BYTES = 1 << 24
REFUSED = (65, 66, 78)
Change = Callable[[Json, Json], object]  # of the text and the settings in a run's record
COMMANDS: dict[str, tuple[str, ...]] = {
    "eval": ("eval", "RUN"),
    "baselines": ("eval", "RUN", "--baselines"),
    "inspect": ("inspect", "RUN"),
    "probe": ("probe", "RUN"),
    "resume": ("train", "--resume", "RUN", "--max-steps", "8"),
    "compare": ("compare-cells", "RUN", "OTHER", "--out", "OUT"),
    "diff": ("diff", "RUN", "OTHER"),
    "novelty": ("sample", "RUN", "--length", "20", "--novelty"),
}


def run(scale: float) -> Hazard:
    """Let a run name each foreign source, and read it by each command."""
    started, failures, trials = processes.cpu_seconds(), [], 0
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        work = directory / "work"
        work.mkdir()
        processes.warm_up(work)
        for run_name in ("sound", "other"):
            ended = processes.run(processes.train_command(work / run_name, 4), work)
            if ended.code:
                raise RuntimeError(f"{run_name}: {ended.errors}")
        sound = read_tree(work / "sound")
        outside = _make_outside(directory / "outside")
        cases = list(product(_changes(outside), COMMANDS))
        for change, command in random.Random(4).sample(cases, max(8, round(len(cases) * scale))):
            trials += 1
            failures += _trial(work, sound, outside, change, command)
    return Hazard(
        "run that names foreign files as its text",
        "devices, pipes, sockets, files of the kernel and of the person, folders, patterns and "
        f"bombs as the text of a run, read by {len(COMMANDS)} commands with an empty cache: "
        "refused in time, and nothing is kept or changed",
        trials,
        tuple(failures[:50]),
        processes.cpu_seconds() - started,
    )


def _make_outside(outside: Path) -> Path:
    """Create files that are nothing of a run's."""
    outside.mkdir()
    (outside / "secret").write_text("secret " * 30)
    (outside / "same-size").write_bytes(b"s" * 1500)
    (outside / "bomb.xz").write_bytes(lzma.compress(bytes(1 << 25)))
    os.mkfifo(outside / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(outside / "socket"))
    (outside / "link").symlink_to("/dev/zero")
    (outside / "folder").mkdir()
    (outside / "folder" / "link").symlink_to("/dev/zero")
    os.mkfifo(outside / "folder" / "pipe")
    return outside


def _changes(outside: Path) -> Mapping[str, Change]:
    """Return what a stranger writes into a run, by name."""
    paths = ["/dev/zero", "/dev/urandom", "/dev/null", "/dev/stdin", "/proc/kmsg", "/proc"]
    paths += ["/etc/hostname", "/proc/self/mem", "/sys", "python-source", "-", "", "\0", "/"]
    names = ("secret", "same-size", "bomb.xz", "pipe", "socket", "link", "folder", "missing")
    paths += [str(outside / name) for name in names]
    changes: dict[str, Change] = {f"source {path!r}": _change(sources=[path]) for path in paths}
    for path in ("/dev/zero", "/etc/hostname", "-", str(outside / "pipe")):
        changes[f"valid_file {path!r}"] = _change({"valid_file": path})
    for glob in ("../*", "/etc/*", "**/../../*"):
        changes[f"glob {glob!r}"] = _change({"glob": glob}, sources=[str(outside / "folder")])
    settings = {"test_chars": 10, "split_by": "file"}
    changes["excerpts"] = _change(settings, sources=[str(outside)], split_by="file")
    return changes


def _change(settings: Mapping[str, object] | None = None, **text: object) -> Change:
    """Return a function that sets these settings of a run, and these keys of its text."""

    def change(recorded_text: Json, recorded_settings: Json) -> None:
        recorded_text.update(text)
        recorded_settings.update(settings or {})

    return change


def _trial(work: Path, sound: Files, outside: Path, change: str, command: str) -> list[str]:
    """Return what does not hold for a command and a run that names a foreign source."""
    record = msgspec.json.decode(sound["run.json"])
    _changes(outside)[change](record["text"], record["config"])
    write_tree(work / "run", seal({**sound, "run.json": msgspec.json.encode(record)}))
    cache = Path(os.environ["CHARLM_CACHE"])
    _empty(cache)
    before = _state(outside)
    places = {"RUN": str(work / "run"), "OTHER": str(work / "other"), "OUT": str(work / "out")}
    words = [places.get(word, word) for word in COMMANDS[command]]
    ended = processes.run(words, work, _limit)
    problems = []
    goes_on = command == "compare" and "no baselines and no memory: cannot" in ended.errors
    if ended.code not in REFUSED and not goes_on:  # a comparison of runs needs no text
        problems.append(f"exit {ended.code}: {ended.errors.strip()[-200:]}")
    if "Traceback" in ended.errors:
        problems.append("a traceback")
    kept = [path for path in cache.glob("*.ids") if path.stat().st_size]
    if kept and command not in ("compare", "diff"):  # these read the text of the other run
        problems.append("an encoding is kept")
    if _state(outside) != before:
        problems.append("a file outside has changed")
    return [f"{command}, {change}: {problem}" for problem in problems]


def _empty(cache: Path) -> None:
    """Remove encoded texts, but no kernels."""
    for path in (*cache.glob("*.ids"), *cache.glob("*.json")):
        path.unlink()


def _state(outside: Path) -> list[tuple[str, int, float]]:
    paths = sorted(outside.rglob("*"))
    return [(str(path), path.lstat().st_size, path.lstat().st_mtime) for path in paths]


def _limit() -> None:
    """End this process by a signal if it waits, works or writes for too long."""
    signal.alarm(LIMIT_SECONDS)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (WRITTEN_BYTES, WRITTEN_BYTES))
