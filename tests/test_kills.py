"""Workers and comparisons are killed at random, and the table is that of one that nobody touched.

CHARLM_KILLS says how often (make kills).
"""

import json
import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from conftest import charlm, command

KILLS = int(os.environ.get("CHARLM_KILLS", "5"))
UPDATES = 1500
WORDS = ["--seeds", 1, "--params", 30_000, "--embedding-dim", 8, "--batch-size", 4, "--seq-len", 16]
WORDS += ["--reference", "rnn", "--max-steps", UPDATES, "--save-every", 0.2, "--log-every", 0.2]
WORDS += ["--trials", 2, "--no-transformer"]


def workers(out: Path) -> dict[int, Path]:
    """The processes that make runs there now, and which."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_text().split("\0")
            if "--run" in words and words[words.index("--run") + 1].startswith(str(out)):
                found[int(process.name)] = Path(words[words.index("--run") + 1])
    return found


def victim(draw: random.Random, kills: int, whole: int, out: Path) -> int | None:
    """What is killed next: first a worker that has saved; then, too, one that begins, or all."""
    there, kind = workers(out), draw.random() if kills else 1
    saved = [
        worker
        for worker, run in there.items()
        if any(run.glob("checkpoints/step-*")) and not (run / "report.json").exists()
    ]
    if kind < 0.2:
        return whole
    return draw.choice([*there, None]) if kind < 0.5 else draw.choice([*saved, None])


def test_whatever_is_killed_the_table_is_the_same(tmp_path: Path, book: Path) -> None:
    words = ["compare-cells", book, *WORDS]
    quiet = charlm(*words, "--cells", "rnn,gru", "--jobs", 1, "--out", tmp_path / "quiet", "--json")
    assert quiet.returncode == 0, quiet.stderr

    draw = random.Random(KILLS)
    out = tmp_path / "killed"
    words = command(*words, "--cells", "gru,rnn", "--jobs", 3, "--out", out, "--json")
    kills = 0
    told = b""
    while True:
        with (tmp_path / "stderr").open("wb") as stderr:
            whole = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=stderr)
        while whole.poll() is None and kills < KILLS:
            time.sleep(1 + draw.expovariate(1) if kills else 0.05)
            if chosen := victim(draw, kills, whole.pid, out):
                with suppress(ProcessLookupError):
                    os.kill(chosen, signal.SIGKILL)
                    kills += 1
        stdout, _ = whole.communicate()
        told += (tmp_path / "stderr").read_bytes()
        if whole.returncode == 0:
            break
        # Killed by us, one job oftener than is borne, or its workers are not yet gone.
        assert whole.returncode in (-signal.SIGKILL, 70, 75), told
    assert kills >= min(KILLS, 3)
    assert b"its process was killed, and goes on in another" in told
    assert b"Traceback" not in told

    assert stdout == quiet.stdout
    one, two = ((tmp_path / name / "report.json").read_bytes() for name in ("quiet", "killed"))
    assert one == two
    resumed = 0
    for run in [*out.glob("runs/*"), *out.glob("trials/*")]:
        lines = (run / "metrics.jsonl").read_text().splitlines()
        updates = [json.loads(line)["update"] for line in lines if '"bits"' in line]
        assert updates == list(range(1, len(updates) + 1))  # none twice, and none is missing
        there = tmp_path / "quiet" / run.relative_to(out)
        assert (there / "metrics.jsonl").read_bytes() == (run / "metrics.jsonl").read_bytes()
        events = (run / "events.jsonl").read_text().splitlines()
        resumed += sum('"resumed"' in line for line in events)
    assert resumed
