"""Comparisons whose workers and main processes are killed at random: their report is the same."""

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

from charlm.errors import CharlmError, LockedError
from charlm.results.training import StepMetrics
from charlm.runs.metrics import iter_events, iter_metrics
from faults import processes
from faults.hazard import Hazard
from faults.places import memory_directory
from faults.processes import cpu_seconds

KILLS = 200
STEPS = 250
OPTIONS = ["--seeds", 1, "--params", 4000, "--embedding-dim", 8, "--batch-size", 2]
OPTIONS += ["--seq-len", 16, "--reference", "rnn", "--max-steps", STEPS, "--save-every", 0.1]
OPTIONS += ["--trials", 2, "--baselines", "none", "--no-memory", "--json"]
OPTIONS += ["--log-every", 0.2]


def run(scale: float) -> Hazard:
    """Kill processes of comparisons, and start each again until it is done."""
    before = cpu_seconds()
    rng = random.Random(0)
    kills, comparisons, resumed = 0, 0, 0
    failures: list[str] = []
    wanted = max(3, round(KILLS * scale))
    with memory_directory() as directory:
        processes.warm_up(directory)
        words = ["compare-cells", directory / "text.txt", *OPTIONS]
        quiet = directory / "quiet"
        ended = processes.run(
            [*words, "--cells", "rnn,gru", "--jobs", 1, "--out", quiet], directory
        )
        if ended.code:
            raise RuntimeError(ended.errors)
        while kills < wanted and comparisons < wanted:
            out = directory / f"killed-{comparisons}"
            command = [*words, "--cells", "gru,rnn", "--jobs", 3, "--out", out]
            done, problem, output = kill_until_done(command, out, directory, rng, wanted - kills)
            kills += done
            comparisons += 1
            problem = problem or judge(quiet, out)
            resumed += resumptions(out)
            if not problem and output != ended.output:
                problem = "its output differs"
            if problem:
                failures.append(f"comparison {comparisons}, {done} kills: {problem}")
    if not resumed:
        failures.append("no run was resumed: nothing was killed after it had saved")
    return Hazard(
        "killed comparisons",
        f"workers and main processes of {comparisons} comparisons are killed at random; the same "
        "command goes on, and report.json is that of an undisturbed one",
        kills,
        tuple(failures),
        cpu_seconds() - before,
    )


def kill_until_done(
    command: list[object], out: Path, directory: Path, rng: random.Random, kills: int
) -> tuple[int, str, str]:
    """Run a comparison until it is done, and kill its processes meanwhile.

    Args:
        command: Its command line.
        out: Its directory.
        directory: Working directory.
        rng: Source of moments and victims.
        kills: Kills at most.

    Returns:
        Kills, what went wrong, and what it printed at its end.
    """
    done = 0
    while True:
        parent = processes.start(command, directory)
        while not has_ended(parent) and done < kills:
            time.sleep(0.1 + rng.expovariate(4))
            if victim := choose_victim(rng, done, parent, out):
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    done += 1
        ended = processes.wait(parent, directory)
        if "Traceback" in ended.errors:
            return done, ended.errors[-300:], ""
        if ended.code == 0:
            return done, "", ended.output
        # We killed it, or one job too often, or its workers are not gone yet.
        too_often = ended.code == CharlmError.code and "its process was killed" in ended.errors
        if ended.code not in (-signal.SIGKILL, LockedError.code) and not too_often:
            return done, f"exit code {ended.code}: {ended.errors[-300:]}", ""


def has_ended(process: int) -> bool:
    """Return whether a child has ended; its exit code can still be read."""
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def workers(out: Path) -> dict[int, Path]:
    """Return the processes that train runs of a comparison now, and their runs."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_text(errors="replace").split("\0")
            for option in ("--run", "--resume"):
                if option in words and words[words.index(option) + 1].startswith(f"{out}/"):
                    found[int(process.name)] = Path(words[words.index(option) + 1])
    return found


def choose_victim(rng: random.Random, kills: int, parent: int, out: Path) -> int | None:
    """Return the next process to kill: first a worker that has saved, later also any other."""
    running, kind = workers(out), rng.random() if kills else 1
    saved = [
        worker
        for worker, run_dir in running.items()
        if any(run_dir.glob("checkpoints/step-*")) and not (run_dir / "report.json").exists()
    ]
    if kind < 0.15:
        return parent
    return rng.choice([*running, None]) if kind < 0.5 else rng.choice([*saved, None])


def judge(quiet: Path, out: Path) -> str:
    """Return how a comparison differs from an undisturbed one."""
    if (quiet / "report.json").read_bytes() != (out / "report.json").read_bytes():
        return "report.json differs"
    for run_dir in [*out.glob("runs/*"), *out.glob("trials/*")]:
        steps = [m.step for m in iter_metrics(run_dir) if isinstance(m, StepMetrics)]
        if steps != list(range(1, len(steps) + 1)):
            return f"{run_dir.name}: a step is missing or was done twice"
        undisturbed = quiet / run_dir.relative_to(out) / "metrics.jsonl"
        if undisturbed.read_bytes() != (run_dir / "metrics.jsonl").read_bytes():
            return f"{run_dir.name}: metrics.jsonl differs"
    return ""


def resumptions(out: Path) -> int:
    """Return how often runs of a comparison were resumed."""
    runs = [*out.glob("runs/*"), *out.glob("trials/*")]
    return sum(event.event == "resumed" for run_dir in runs for event in iter_events(run_dir))
