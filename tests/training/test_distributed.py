"""Tests of data-parallel training: several processes compute what one computes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from forked import Done, Forked, run_script

from charlm.data.batches import Batch
from charlm.errors import ConfigError
from charlm.runs.run import Run
from charlm.training.distributed import ProcessGroup, init_process_group

STEPS = 500
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]

SCRIPT = """
import os, sys
import numpy as np, torch
from safetensors.torch import save_file
from charlm.config import validate_config
from charlm.data.batches import BatchSampler
from charlm.models.build import build_char_lm
from charlm.training.distributed import init_process_group
from charlm.training.trainer import Trainer

torch.set_default_dtype(torch.float64)
settings = {"hidden_size": 12, "embedding_dim": 5, "num_layers": 2, "batch_size": 6, "seq_len": 7}
settings |= {"initial_state": "learned", "learning_rate": 0.01, "grad_clip": 1.0}
settings |= {"cell": sys.argv[1], "block": sys.argv[3], "weight_dropout": float(sys.argv[4])}
config = validate_config(settings)
group = init_process_group("cpu", 6)
trainer = Trainer(build_char_lm(config, 9, "loop", "cpu"), config, 20, group)
batches = BatchSampler(np.random.default_rng(0).integers(0, 9, 300), 6, 7, 0)
for step in range(10):  # into the second epoch, which begins with the initial state
    metrics = trainer.train_step(batches[step])
tensors = trainer.state_tensors()
if group.is_main:
    flat = {}
    for file, named in tensors.items():
        flat |= {f"{file}/{name}": tensor.contiguous() for name, tensor in named.items()}
    flat["metrics"] = torch.tensor([metrics.bits, metrics.gradient_norm, metrics.characters])
    save_file(flat, sys.argv[2])
group.shutdown()
os._exit(0)  # as charlm does
"""


def run_ranks(processes: int, *words: object, script: Path | None = None) -> list[Done]:
    """Run charlm or a script in processes with the variables of torchrun, but forked."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": processes, "OMP_NUM_THREADS": 1}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks = []
    for rank in range(processes):
        variables = {**shared, "RANK": rank, "LOCAL_RANK": rank}
        environ = {**os.environ, **{name: str(value) for name, value in variables.items()}}
        ranks.append(Forked([str(word) for word in words], environ=environ, script=script))
    done = []
    for process in ranks:
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        done.append(Done(words, process.returncode, output, errors))
    return done


def torchrun(processes: int, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*TORCHRUN, f"--nproc-per-node={processes}", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "cell, block, weight_dropout", [("lstm", "none", "0.2"), ("attention", "residual", "0")]
)
def test_two_processes_compute_what_one_computes(
    cell: str, block: str, weight_dropout: str, tmp_path: Path
) -> None:
    """In float64: weights, moments and carried states of all streams, in order."""
    script, one, two = tmp_path / "script.py", tmp_path / "one", tmp_path / "two"
    script.write_text(SCRIPT)
    done = run_script(script, cell, one, block, weight_dropout)
    assert done.returncode == 0, done.stderr
    run_ranks(2, cell, two, block, weight_dropout, script=script)
    expected, actual = (safetensors.torch.load_file(path) for path in (one, two))
    assert expected.keys() == actual.keys()
    assert expected["training/exp_avg/weight"].any()  # it has been trained
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.slow
def test_interrupted_run_of_three_processes_ends_in_the_same_bits(tmp_path: Path) -> None:
    """It is resumed by its name alone: all three take its settings from its record.

    With two processes a sum does not depend on their order.
    """
    text = tmp_path / "text.txt"
    text.write_text("To be, or not to be, that is the question. " * 300)
    options = ["--hidden-size=16", "--embedding-dim=8", "--batch-size=6", "--seq-len=16"]
    options += [f"--max-steps={STEPS}", "--dropout=0.2", "--eval-every=50", "--save-every=9999"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"

    words = ["charlm", "train", str(text), *options, f"--run={stopped}", "--json"]
    first = torchrun(3, "-m", "--", *words)
    while not list(stopped.glob("checkpoints/step-*")) and first.poll() is None:
        time.sleep(0.02)
    first.send_signal(signal.SIGTERM)
    _, stderr = first.communicate()
    last = max(Run(stopped).checkpoints, default=0)
    assert 0 < last < STEPS, stderr
    for words in ([text, *options, f"--run={whole}"], [f"--resume={stopped}"]):
        main, *others = run_ranks(3, "train", *words, "--json")
        assert json.loads(main.stdout)["steps"] == STEPS
        assert not any(other.stdout for other in others)
    assert (whole / "metrics.jsonl").read_bytes() == (stopped / "metrics.jsonl").read_bytes()
    tensors = [sorted(path.rglob("*.safetensors")) for path in (whole, stopped)]
    for one, other in zip(*tensors, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_each_process_has_its_own_streams() -> None:
    numbers = torch.arange(12).view(2, 6)
    batch = Batch(numbers, numbers + 1, True)
    parts = [ProcessGroup(rank, 3).local_batch(batch) for rank in range(3)]
    assert [part.x.tolist() for part in parts] == [
        [[0, 1], [6, 7]],
        [[2, 3], [8, 9]],
        [[4, 5], [10, 11]],
    ]
    assert all(torch.equal(part.y, part.x + 1) for part in parts)
    state = ((torch.arange(6)[:, None],),)
    assert [ProcessGroup(r, 3).local_state(state)[0][0].flatten().tolist() for r in range(3)] == [
        [0, 1],
        [2, 3],
        [4, 5],
    ]


def test_batch_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ConfigError, match="--batch-size 30: 4 processes .* Try --batch-size 32"):
        init_process_group("cpu", 30)
