"""Several processes that train one model together come to what one process comes to."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch

from charlm.corpus import Batch
from charlm.errors import BadConfig
from charlm.ranks import Ranks, join
from charlm.run import Run

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]

LEARNS = """
import sys
import numpy as np, torch
from safetensors.torch import save_file
from charlm.config import checked
from charlm.corpus import Batches
from charlm.learner import Learner
from charlm.model import make
from charlm.ranks import join

torch.set_default_dtype(torch.float64)
sizes = {"hidden": 12, "embedding": 5, "layers": 2, "batch": 6, "time": 7}
config = checked({"cell": sys.argv[1], "start": "learned", "learning_rate": 0.01, **sizes})
ranks = join("cpu", 6)
learner = Learner(make(config, 9, "loop", "cpu"), config, 20, ranks)
batches = Batches(np.random.default_rng(0).integers(0, 9, 300), 6, 7, 0)
for update in range(10):  # into the second epoch: a fresh start, too
    told = learner.learn(batches[update])
tensors = learner.tensors()
if ranks.first:
    flat = {f"{k}/{n}": t.contiguous() for k, of in tensors.items() for n, t in of.items()}
    flat["told"] = torch.tensor([told.bits, told.gradient_norm, told.characters])
    save_file(flat, sys.argv[2])
ranks.leave()
"""


def together(*words: str, **more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*TORCHRUN, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **more},
    )


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_two_processes_learn_what_one_learns(cell: str, tmp_path: Path) -> None:
    """In float64: weights, moments and the state that is carried, of all streams in order."""
    script, one, two = tmp_path / "learns.py", tmp_path / "one", tmp_path / "two"
    script.write_text(LEARNS)
    subprocess.run([sys.executable, script, cell, one], check=True)
    done = together(str(script), cell, str(two))
    _, said = done.communicate()
    assert done.returncode == 0, said
    wanted, found = (safetensors.torch.load_file(path) for path in (one, two))
    assert wanted.keys() == found.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-9, msg=name)


def test_a_run_of_two_processes_that_was_stopped_ends_in_the_same_bits(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("To be, or not to be, that is the question. " * 300)
    sizes = ["--hidden=16", "--embedding=8", "--batch=8", "--time=16", "--updates=400"]
    words = ["-m", "--", "charlm", "train", str(text), *sizes, "--dropout=0.2", "--valid-every=50"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"

    def train(run: Path) -> "subprocess.Popen[str]":
        return together(*words, f"--run={run}", "--resume", "--json")

    halfway = train(stopped)
    deadline = time.monotonic() + 120
    while not list(stopped.glob("checkpoints/update-*")) and halfway.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    halfway.send_signal(signal.SIGTERM)
    _, said = halfway.communicate()
    last = max(Run(stopped).checkpoints, default=0)
    assert 0 < last < 400, said
    for run in (whole, stopped):
        done = train(run)
        result, said = done.communicate()
        assert done.returncode == 0, said
        assert json.loads(result)["updates"] == 400
    assert (whole / "metrics.jsonl").read_bytes() == (stopped / "metrics.jsonl").read_bytes()
    kept = [sorted(path.rglob("*.safetensors")) for path in (whole, stopped)]
    for one, other in zip(*kept, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_each_process_has_its_own_streams() -> None:
    numbers = torch.arange(12).view(2, 6)
    batch = Batch(numbers, numbers + 1, True)
    shares = [Ranks(rank, 3).share(batch) for rank in range(3)]
    assert [share.x.tolist() for share in shares] == [
        [[0, 1], [6, 7]],
        [[2, 3], [8, 9]],
        [[4, 5], [10, 11]],
    ]
    assert all(torch.equal(share.y, share.x + 1) for share in shares)
    state = ((torch.arange(6)[:, None],),)
    assert [Ranks(r, 3).own(state)[0][0].flatten().tolist() for r in range(3)] == [
        [0, 1],
        [2, 3],
        [4, 5],
    ]


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(BadConfig, match="--batch 30: 4 processes .* Try --batch 32"):
        join("cpu", 30)
