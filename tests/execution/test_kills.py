"""Test of a comparison whose processes are killed at random: its report does not change.

CHARLM_KILLS is the number of kills (make kills).
"""

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import charlm, start_charlm

from charlm.results.training import StepMetrics
from charlm.runs.metrics import iter_events, iter_metrics

KILLS = int(os.environ.get("CHARLM_KILLS", "4"))
STEPS = 800
OPTIONS = ["--seeds", 1, "--params", 30_000, "--embedding-dim", 8, "--batch-size", 4]
OPTIONS += ["--seq-len", 16, "--reference", "rnn", "--max-steps", STEPS, "--save-every", 0.2]
OPTIONS += ["--log-every", 0.2, "--trials", 2, "--baselines", "none", "--no-memory"]


def workers(out: Path) -> dict[int, Path]:
    """Return the processes that train runs of a comparison now, and their runs."""
    processes = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_text().split("\0")
            for option in ("--run", "--resume"):
                if option in words and words[words.index(option) + 1].startswith(str(out)):
                    processes[int(process.name)] = Path(words[words.index(option) + 1])
    return processes


def choose_victim(rng: random.Random, kills: int, parent: int, out: Path) -> int | None:
    """Return the next process to kill: first a worker that has saved, later also any other."""
    running, kind = workers(out), rng.random() if kills else 1
    saved = [
        worker
        for worker, run in running.items()
        if any(run.glob("checkpoints/step-*")) and not (run / "report.json").exists()
    ]
    if kind < 0.2:
        return parent
    return rng.choice([*running, None]) if kind < 0.5 else rng.choice([*saved, None])


@pytest.mark.slow
def test_kills_do_not_change_the_report(tmp_path: Path, book: Path) -> None:
    words = ["compare-cells", book, *OPTIONS]
    quiet = charlm(*words, "--cells", "rnn,gru", "--jobs", 1, "--out", tmp_path / "quiet", "--json")
    assert quiet.returncode == 0, quiet.stderr

    rng = random.Random(KILLS)
    out = tmp_path / "killed"
    words += ["--cells", "gru,rnn", "--jobs", 3, "--out", out, "--json"]
    kills = 0
    stderr = b""
    while True:
        parent = start_charlm(*words)
        while parent.poll() is None and kills < KILLS:
            time.sleep(0.5 + rng.expovariate(2) if kills else 0.05)
            if victim := choose_victim(rng, kills, parent.pid, out):
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    kills += 1
        stdout, errors = parent.communicate()
        stderr += errors
        if parent.returncode == 0:
            break
        # We killed it, or one job too often, or its workers are not gone yet.
        assert parent.returncode in (-signal.SIGKILL, 70, 75), stderr
    assert kills >= min(KILLS, 3)
    assert b"its process was killed; restarted" in stderr
    assert b"Traceback" not in stderr

    assert stdout == quiet.stdout
    one, two = ((tmp_path / name / "report.json").read_bytes() for name in ("quiet", "killed"))
    assert one == two
    resumed = 0
    for run in [*out.glob("runs/*"), *out.glob("trials/*")]:
        steps = [m.step for m in iter_metrics(run) if isinstance(m, StepMetrics)]
        assert steps == list(range(1, len(steps) + 1))  # none twice, none missing
        undisturbed = tmp_path / "quiet" / run.relative_to(out)
        metrics = (run / "metrics.jsonl").read_bytes()
        assert (undisturbed / "metrics.jsonl").read_bytes() == metrics
        resumed += sum(event.event == "resumed" for event in iter_events(run))
    assert resumed
