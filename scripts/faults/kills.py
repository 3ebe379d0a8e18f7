"""SIGKILL at every operation and system call of a run that saves every step, and at any moment."""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from faults import processes
from faults.hazard import Hazard
from faults.operations import count_operations, intercept, kill_before
from faults.survival import Survival

STEPS = 4
MOMENTS = 200  # random ones
KINDS: tuple[tuple[str, ...], ...] = (
    ("--cell", "lstm", "--eval-every", "2"),
    ("--cell", "gru", "--num-layers", "2", "--dropout", "0.2"),
    ("--cell", "mingru", "--kernel", "scan", "--block", "residual"),
    ("--cell", "rnn", "--initial-state", "learned", "--kernel", "loop"),
    ("--cell", "matrix-lstm", "--kernel", "loop"),
    ("--cell", "lstm", "--vocab", "bytes", "--lr-schedule", "cosine"),
)
# System calls that change files.
CALLS: tuple[str, ...] = (
    "openat",
    "write",
    "fsync",
    "rename",
    "link",
    "unlink",
    "unlinkat",
    "mkdir",
    "rmdir",
)
CALLS += ("ftruncate", "close")


def run(scale: float) -> Hazard:
    """Kill runs before each operation and system call, and at random moments."""
    started, trials = processes.cpu_seconds(), 0
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        processes.warm_up(directory)
        for kill in (_kill_at_operations, _kill_at_system_calls, _kill_at_moments):
            done, failed = kill(directory, scale)
            trials, failures = trials + done, failures + failed
    traced = "each system call that changes a file (strace)"
    if not shutil.which("strace"):
        traced = "no system call, since there is no strace"
    return Hazard(
        "SIGKILL at any moment",
        f"killed before each operation on files of a run that saves every step; at {traced}; and "
        f"at random moments of {len(KINDS)} kinds of runs; then verified and resumed",
        trials,
        tuple(failures),
        processes.cpu_seconds() - started,
    )


def reference(directory: Path, name: str, options: Sequence[str] = ()) -> Survival:
    """Return checks of a kind of run, after one that nothing interrupts."""
    path = directory / name
    command = processes.train_command(path, STEPS, *options)
    ended = processes.run(command, directory)
    if ended.code:
        raise RuntimeError(f"{options}: {ended.errors}")
    outcome = processes.digest_outcome(path)
    shutil.rmtree(path)
    return Survival(command, outcome)


def spread(count: int, scale: float) -> list[int]:
    """Return evenly spread numbers below a count; all of them at scale 1."""
    chosen = max(1, round(count * min(scale, 1)))
    return [index * count // chosen for index in range(chosen)]


def count_of(command: list[str], directory: Path, path: Path, name: str = "all") -> int:
    """Return the number of operations, or those of a name, of a command below a path."""
    record = directory / "count"

    def prepare() -> None:
        counts: dict[str, int] = {}
        intercept(str(path), count_operations(counts))
        processes.at_exit(lambda: record.write_text(str(counts.get(name, 0))))

    processes.run(command, directory, prepare)
    return int(record.read_text())


def _kill_at_operations(directory: Path, scale: float) -> tuple[int, list[str]]:
    survival = reference(directory, "operations")
    path = directory / "operations"
    count = count_of(survival.command, directory, path)
    shutil.rmtree(path)
    failures, numbers = [], spread(count, scale)
    for number in numbers:
        ended = processes.run(
            survival.command,
            directory,
            lambda number=number: intercept(str(path), kill_before(number)),  # type: ignore[misc]
        )
        problem = "it was not killed" if ended.code != -signal.SIGKILL else survival.check(path)
        if problem:
            failures.append(f"operation {number}: {problem}")
        shutil.rmtree(path, ignore_errors=True)
    return len(numbers), failures


def _kill_at_system_calls(directory: Path, scale: float) -> tuple[int, list[str]]:
    if not shutil.which("strace"):
        return 0, []
    survival = reference(directory, "calls")
    path = directory / "calls"
    log = directory / "calls.log"
    if not _traced(survival.command, directory, ["-y", "-o", str(log)]):
        return 0, ["strace cannot attach to a process"]
    shutil.rmtree(path)
    seen: Counter[str] = Counter()
    moments = []
    for call, arguments in re.findall(r"^(?:\d+ +)?(\w+)\((.*)$", log.read_text(), re.M):
        seen[call] += 1
        if str(path) in arguments and "O_RDONLY" not in arguments:
            moments.append((call, seen[call]))
    failures, numbers = [], spread(len(moments), scale)
    for call, number in (moments[index] for index in numbers):
        inject = ["-o", os.devnull, "-e", f"inject={call}:signal=KILL:when={number}"]
        _traced(survival.command, directory, inject)
        if path.exists() and (problem := survival.check(path)):
            failures.append(f"{call} {number}: {problem}")
        shutil.rmtree(path, ignore_errors=True)
    return len(numbers), failures


def _traced(command: list[str], directory: Path, options: list[str]) -> bool:
    """Run a command under strace; return whether it could attach."""
    process = processes.start(command, directory, lambda: os.kill(os.getpid(), signal.SIGSTOP))
    os.waitpid(process, os.WUNTRACED)
    words = ["strace", "-qq", "-e", f"trace={','.join(CALLS)}", *options, "-p", str(process)]
    tracer = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    status = Path(f"/proc/{process}/status")
    attached = False
    while tracer.poll() is None and not attached:
        attached = f"TracerPid:\t{tracer.pid}" in status.read_text()
        time.sleep(0.002)
    os.kill(process, signal.SIGCONT)
    processes.wait(process, directory)
    tracer.wait()
    return attached


def _kill_at_moments(directory: Path, scale: float) -> tuple[int, list[str]]:
    rng, failures, trials = random.Random(1), [], 0
    per_kind = max(1, round(MOMENTS * scale / len(KINDS)))
    for index, options in enumerate(KINDS if scale >= 0.1 else KINDS[:2]):
        survival = reference(directory, f"moments-{index}", options)
        path = directory / f"moments-{index}"
        total = _cpu_of(survival.command, directory)
        shutil.rmtree(path)
        for _ in range(per_kind):
            trials += 1
            process = processes.start(survival.command, directory)
            _kill_after(process, total * rng.random())
            processes.wait(process, directory)
            if path.exists() and (problem := survival.check(path)):
                failures.append(f"{' '.join(options)}: {problem}")
            shutil.rmtree(path, ignore_errors=True)
    return trials, failures


def _cpu_of(command: list[str], directory: Path) -> float:
    before = processes.cpu_seconds()
    processes.run(command, directory)
    return processes.cpu_seconds() - before


def _kill_after(process: int, seconds: float) -> None:
    """Kill a process once it has used so many CPU seconds, however busy the machine is."""
    clock = ~process << 3 | 2  # Linux: the CPU clock of another process
    with contextlib.suppress(OSError, ProcessLookupError):
        while time.clock_gettime(clock) < seconds:
            time.sleep(0.001)
            if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
