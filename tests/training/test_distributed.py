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

from charlm.data.batches import Batch
from charlm.errors import ConfigError
from charlm.runs.run import Run
from charlm.training.distributed import ProcessGroup, init_process_group

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]

LEARNS = """
import os, sys
import numpy as np, torch
from safetensors.torch import save_file
from charlm.config import checked
from charlm.corpus import Batches
from charlm.learner import Learner
from charlm.model import make
from charlm.ranks import join

torch.set_default_dtype(torch.float64)
sizes = {"hidden_size": 12, "embedding_dim": 5, "num_layers": 2, "batch_size": 6, "seq_len": 7}
settings = {"initial_state": "learned", "learning_rate": 0.01, "weight_dropout": float(sys.argv[4])}
settings |= {"cell": sys.argv[1], "block": sys.argv[3], **sizes}
config = checked(settings)
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
os._exit(0)  # as charlm does
"""


def together(processes: int, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*TORCHRUN, f"--nproc-per-node={processes}", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize(
    "cell, block, weight_dropout", [("lstm", "none", "0.2"), ("attention", "residual", "0")]
)
def test_two_processes_learn_what_one_learns(
    cell: str, block: str, weight_dropout: str, tmp_path: Path
) -> None:
    """In float64: weights, moments and the state that is carried, of all streams in order."""
    script, one, two = tmp_path / "learns.py", tmp_path / "one", tmp_path / "two"
    script.write_text(LEARNS)
    subprocess.run([sys.executable, script, cell, one, block, weight_dropout], check=True)
    done = together(2, str(script), cell, str(two), block, weight_dropout)
    _, said = done.communicate()
    assert done.returncode == 0, said
    wanted, found = (safetensors.torch.load_file(path) for path in (one, two))
    assert wanted.keys() == found.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-9, msg=name)


def test_a_run_of_three_processes_that_was_stopped_ends_in_the_same_bits(tmp_path: Path) -> None:
    """Gone on with by its name alone: all three take its settings from what it recorded."""
    text = tmp_path / "text.txt"
    text.write_text("To be, or not to be, that is the question. " * 300)
    sizes = [
        "--hidden-size=16",
        "--embedding-dim=8",
        "--batch-size=6",
        "--seq-len=16",
        "--max-steps=1500",
    ]
    begun = [str(text), *sizes, "--dropout=0.2", "--eval-every=50", "--save-every=9999"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"

    def train(run: Path, *words: str) -> "subprocess.Popen[str]":
        words = ("-m", "--", "charlm", "train", *words, f"--run={run}", "--resume", "--json")
        return together(3, *words)

    halfway = train(stopped, *begun)
    deadline = time.monotonic() + 120
    while not list(stopped.glob("checkpoints/step-*")) and halfway.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    halfway.send_signal(signal.SIGTERM)
    _, said = halfway.communicate()
    last = max(Run(stopped).checkpoints, default=0)
    assert 0 < last < 1500, said
    for done in (train(whole, *begun), train(stopped)):
        result, said = done.communicate()
        assert done.returncode == 0, said
        assert json.loads(result)["max_steps"] == 1500
    assert (whole / "metrics.jsonl").read_bytes() == (stopped / "metrics.jsonl").read_bytes()
    kept = [sorted(path.rglob("*.safetensors")) for path in (whole, stopped)]
    for one, other in zip(*kept, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_each_process_has_its_own_streams() -> None:
    numbers = torch.arange(12).view(2, 6)
    batch = Batch(numbers, numbers + 1, True)
    shares = [ProcessGroup(rank, 3).local_batch(batch) for rank in range(3)]
    assert [share.x.tolist() for share in shares] == [
        [[0, 1], [6, 7]],
        [[2, 3], [8, 9]],
        [[4, 5], [10, 11]],
    ]
    assert all(torch.equal(share.y, share.x + 1) for share in shares)
    state = ((torch.arange(6)[:, None],),)
    assert [ProcessGroup(r, 3).local_state(state)[0][0].flatten().tolist() for r in range(3)] == [
        [0, 1],
        [2, 3],
        [4, 5],
    ]


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ConfigError, match="--batch-size 30: 4 processes .* Try --batch-size 32"):
        init_process_group("cpu", 30)
