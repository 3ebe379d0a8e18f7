"""Processes that want to write one directory at the same time, and holders of locks that die."""

import fcntl
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from charlm.config import Config
from charlm.errors import Interrupted, LockedError, OutputExistsError, StorageError
from charlm.results.training import RunEvent
from charlm.runs.metrics import iter_events
from charlm.storage.files import TEMP_NAME
from charlm.storage.lock import exclusive_lock, is_locked
from charlm.training.session import train
from faults import processes
from faults.hazard import Hazard
from faults.places import memory_directory, place
from faults.processes import cpu_seconds, digest_outcome, resume_command, train_command
from faults.resume_to_the_bit import Watcher, stop_after

RACES = 1000
RACERS = 3
COMMAND_RACES = 30
KILLED_HOLDERS = 20
COMPARISON_RACES = 2
STEPS = 12
TWO_WRITERS = 99  # exit code of a process that found another one in its block
LOSES = {LockedError.code, OutputExistsError.code}
COMPARISON = ["--seeds", 1, "--params", 2000, "--embedding-dim", 4, "--batch-size", 2]
COMPARISON += ["--seq-len", 8, "--reference", "rnn", "--cells", "gru,rnn", "--max-steps", 20]
COMPARISON += ["--baselines", "none", "--no-memory", "--lr", 0.01, "--jobs", 1]


def run(scale: float) -> Hazard:
    """Race for locks, for runs and for a comparison, and kill the holders of locks."""
    before = cpu_seconds()
    rng = random.Random(0)
    trials = 0
    failures: list[str] = []
    with memory_directory() as directory:
        processes.warm_up(directory)
        whole = directory / "whole"
        processes.run(train_command(whole, STEPS), directory)
        expected = digest_outcome(whole)
        half = make_interrupted_run(directory)
        races: list[tuple[str, int, Callable[[Path], str]]] = [
            ("lock", RACES, lambda folder: race_for_lock(folder, rng)),
            ("create", COMMAND_RACES, lambda folder: race_to_create(folder, expected)),
            ("resume", COMMAND_RACES, lambda folder: race_to_resume(folder, half, expected)),
            ("kill", KILLED_HOLDERS, lambda folder: kill_holder(folder, expected, rng)),
        ]
        if scale >= 1:  # each takes half a minute
            races.append(("compare", COMPARISON_RACES, race_to_compare))
        for name, number, race in races:
            for trial in range(max(1, round(number * scale))):
                with place(directory) as folder:
                    shutil.copy(directory / "text.txt", folder)
                    if problem := race(folder):
                        failures.append(f"{name} {trial}: {problem}")
                trials += 1
    return Hazard(
        "two writers",
        f"{RACERS} processes lock one directory at once, create or resume one run, or make one "
        "comparison; holders end, fail or are killed",
        trials,
        tuple(failures),
        cpu_seconds() - before,
    )


def race_for_lock(folder: Path, rng: random.Random) -> str:
    """Let processes lock a directory at once; return what went wrong.

    The holder leaves a file, fails at once, or is killed. Another file, whose lock the system
    releases with the process, shows whether two are in the block.
    """
    path, canary, said = folder / "shared", folder / "canary", folder / "said"
    canary.touch()
    is_new, end = rng.random() < 0.5, rng.choice(("leave", "fail", "die"))
    # Sometimes longer than others are ready to wait.
    seconds = 0.5 if rng.random() < 0.05 else rng.random() * 0.003
    if not is_new:
        path.mkdir()

    def work() -> int:
        try:
            with exclusive_lock(path), canary.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    return TWO_WRITERS
                if not is_locked(path):
                    return TWO_WRITERS
                time.sleep(seconds)
                if end == "die":
                    os.kill(os.getpid(), signal.SIGKILL)
                if end == "leave":
                    (path / "run.json").touch()
        except (LockedError, StorageError) as error:
            said.write_text(str(error))
            return error.code
        return 0

    begin, release = os.pipe()
    racers = [fork(work, begin, release) for _ in range(RACERS)]
    os.close(begin)
    os.close(release)  # which releases all
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in racers]
    allowed = {0, LockedError.code} if end != "die" else {-signal.SIGKILL, LockedError.code}
    if not set(codes) <= allowed or codes.count(LockedError.code) == RACERS:
        message = said.read_text() if said.exists() else ""
        return f"{end}: processes ended with {codes}: {message}"
    if is_locked(path):
        return f"{end}: the lock is held, though every process has ended"
    with exclusive_lock(path):
        pass
    return ""


def race_to_create(folder: Path, expected: str) -> str:
    """Let processes train a run in one new directory; return what went wrong."""
    path = folder / "r"
    problem = race_commands([train_command(path, STEPS)] * RACERS, folder)
    return problem or judge_run(path, expected)


def race_to_resume(folder: Path, half: Path, expected: str) -> str:
    """Let processes resume one run; return what went wrong."""
    path = shutil.copytree(half, folder / "r")
    problem = race_commands([resume_command(path)] * RACERS, folder)
    return problem or judge_run(path, expected)


def race_to_compare(folder: Path) -> str:
    """Let processes make one comparison; return what went wrong."""
    words = ["compare-cells", folder / "text.txt", *COMPARISON, "--out"]
    quiet = processes.run([*words, folder / "quiet"], folder)
    if quiet.code:
        return quiet.errors[-300:]
    if problem := race_commands([[str(word) for word in (*words, folder / "c")]] * 2, folder):
        return problem
    again = processes.run([*words, folder / "c"], folder)
    reports = [(folder / name / "report.json").read_bytes() for name in ("quiet", "c")]
    if again.code or reports[0] != reports[1]:
        return f"the report differs from that of a comparison without a race: {again.code}"
    return judge_directory(folder / "c")


def kill_holder(folder: Path, expected: str, rng: random.Random) -> str:
    """Kill a process that trains, and resume its run at once; return what went wrong."""
    path = folder / "r"
    process = processes.start(train_command(path, STEPS), folder)
    while not is_locked(path):
        time.sleep(0.001)
    time.sleep(rng.random() * 0.3)
    os.kill(process, signal.SIGKILL)
    processes.wait(process, folder)
    if is_locked(path):
        return "the lock of a killed process is held"
    is_run = (path / "run.json").exists()
    command = resume_command(path) if is_run else train_command(path, STEPS)
    ended = processes.run(command, folder)
    if ended.code:
        return f"exit code {ended.code} after a kill: {ended.errors[-300:]}"
    return judge_run(path, expected)


def race_commands(commands: Sequence[Sequence[object]], folder: Path) -> str:
    """Start commands at the same time; return what is wrong with their exit codes."""
    places = [folder / f"racer-{number}" for number in range(len(commands))]
    for racer in places:
        racer.mkdir()
    begin, release = os.pipe()

    def hold() -> None:
        os.close(release)
        os.read(begin, 1)

    racers = [
        processes.start(words, racer, hold) for words, racer in zip(commands, places, strict=True)
    ]
    os.close(begin)
    os.close(release)  # which releases all
    ended = [processes.wait(process, racer) for process, racer in zip(racers, places, strict=True)]
    codes = [one.code for one in ended]
    if 0 not in codes or not set(codes) <= {0, *LOSES}:
        errors = next(one.errors for one in ended if one.code not in {0, *LOSES} or 0 not in codes)
        return f"commands ended with {codes}: {errors[-300:]}"
    return ""


def judge_run(path: Path, expected: str) -> str:
    """Return what is wrong with a run that several processes wanted to write."""
    if digest_outcome(path) != expected:
        return "the run is not that of one undisturbed process"
    if problem := judge_events(list(iter_events(path))):
        return problem
    return judge_directory(path)


def judge_events(events: Sequence[RunEvent]) -> str:
    """Return whether two processes trained at once: their steps would go back."""
    began = [event.step for event in events if event.event in ("started", "resumed")]
    steps = [event.step for event in events if event.event == "checkpointed"]
    if len(set(steps)) != len(steps) or began != sorted(began):
        return f"steps were trained twice: {began}, {steps}"
    return ""


def judge_directory(path: Path) -> str:
    """Return what is wrong with the files of a directory that no process writes."""
    if is_locked(path):
        return "the lock is held, though every process has ended"
    temporaries = [entry.name for entry in path.rglob("*") if TEMP_NAME.fullmatch(entry.name)]
    return f"temporary files are left: {temporaries}" if temporaries else ""


def make_interrupted_run(directory: Path) -> Path:
    """Return a run that was stopped half-way."""
    config = Config(
        hidden_size=8,
        embedding_dim=4,
        batch_size=2,
        seq_len=8,
        learning_rate=0.01,
        warmup_steps=1,
        max_steps=STEPS,
        keep="all",
        save_every=1e-9,
    )
    stop = Watcher(stop_after(STEPS // 2, signal.SIGTERM))
    with suppress(Interrupted):
        train(str(directory / "text.txt"), config, directory / "half", progress=stop)
    return directory / "half"


def fork(work: Callable[[], int], begin: int, release: int) -> int:
    """Fork a process that waits for a pipe to close, and ends with the result of a function."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    try:
        os.close(release)
        os.read(begin, 1)
        os._exit(work())
    finally:
        os._exit(70)
