"""Measure the memory and the time of a training step on long windows, with recomputation.

python scripts/window_memory.py                # prints a table
python scripts/window_memory.py --cell gru

Each row is measured in a process of its own: the highest resident memory of its step, less that of
the process before it.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
import torch

from charlm.config import validate_config
from charlm.data.batches import BatchSampler
from charlm.models.build import build_char_lm, select_kernel
from charlm.training.trainer import Trainer

SETTINGS = {"hidden_size": 128, "embedding_dim": 64, "batch_size": 8, "learning_rate": 0.002}
VOCABULARY = 100
ROWS = [(1024, 0), (4096, 0), (4096, 64), (16384, 0), (16384, 64), (16384, 256)]
KILOBYTES = 1 if sys.platform != "darwin" else 1024  # of a unit of ru_maxrss


def peak_megabytes() -> float:
    """Return the highest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KILOBYTES / 1024


def measure(cell: str, seq_len: int, recompute: int) -> dict[str, float]:
    """Return what two steps add to the memory of this process, and the seconds of the second."""
    torch.set_num_threads(1)
    settings = SETTINGS | {"cell": cell, "grad_clip": 1.0, "recurrent_init": "default"}
    ids = np.random.default_rng(0).integers(0, VOCABULARY, 3 * 8 * seq_len + 1, np.uint8)
    steps = {}
    for length in (128, seq_len):  # the short one builds the kernel; libraries take their buffers
        config = validate_config(settings | {"seq_len": length, "recompute": recompute})
        kernel = select_kernel(config).name
        trainer = Trainer(build_char_lm(config, VOCABULARY, kernel, "cpu"), config, 3)
        batches = BatchSampler(ids, 8, length, 0)
        before = peak_megabytes()
        for step in range(2):
            start = time.perf_counter()
            trainer.train_step(batches[step])
            seconds = time.perf_counter() - start
        steps = {"megabytes": peak_megabytes() - before, "seconds": seconds}
    return steps


def main() -> int:
    """Print the table, or one measurement as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cell", default="lstm")
    parser.add_argument("--measure", nargs=3, metavar=("CELL", "SEQ_LEN", "RECOMPUTE"))
    options = parser.parse_args()
    if options.measure:
        cell, seq_len, recompute = options.measure
        print(json.dumps(measure(cell, int(seq_len), int(recompute))))
        return 0
    print("| `--seq-len` | `--recompute` | MB of a step | µs per character |")
    print("|---|---|---|---|")
    for seq_len, recompute in ROWS:
        words = [sys.executable, __file__, "--measure", options.cell, str(seq_len), str(recompute)]
        found = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
        microseconds = 1e6 * found["seconds"] / seq_len / SETTINGS["batch_size"]
        row = f"| {seq_len:,} | {recompute or 'all'} | {found['megabytes']:,.0f} |"
        print(f"{row} {microseconds:.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
