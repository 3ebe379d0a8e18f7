"""Benchmarks: pairs of runs in one process, one thread, CPU seconds, medians.

    python scripts/bench.py [--pairs 9] [--only train,cells,start,...]

train   training step of the plain loop (nn.Embedding, nn.RNN/GRU/LSTM, nn.Linear, cross_entropy,
        backward, clipping, Adam) against ours; floor: the matrix products alone, in the same run
cells   the same at the shape of a comparison: 100,000 parameters, 8 streams, windows of 64
zoo     every cell with the LSTM's parameters: FLOPs and time against the LSTM's, and the time of
        its plain loop against its fastest kernel
matrix  cells whose state is a matrix per head, with 4 and 8 heads: FLOPs and time against an LSTM
        of 100,000 parameters, and the time of scan and loop against the fastest kernel
scan    cells that are linear in their state, 1,024 tokens at once, against their loop
write   one stream, token by token: nn's module against ours, and the products alone
score   exact evaluation of one stream: PyTorch's own kernel against ours
extras  cost of progress, logging and checkpoints in a run
linear  time per token as windows, texts and steps grow
start   CPU time of commands that do one update or write one character, and of a worker that does
        one update, forked and as a process of its own
help    time of --help and of a usage error
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from charlm.execution.device import disable_malloc_trim

sys.path.insert(0, str(Path(__file__).parent))

from benchmark_basics import SHAPES
from benchmark_commands import bench_extras, bench_help, bench_start
from benchmark_matrix import bench_matrix
from benchmark_reading import bench_generation, bench_linearity, bench_scan, bench_scoring
from benchmark_training import bench_comparison, bench_training
from benchmark_zoo import bench_zoo

PARTS = (
    *("train", "cells", "zoo", "matrix", "scan", "write", "score", "extras", "linear", "start"),
    "help",
)


def main() -> None:
    """Run the parts that are asked for, and print their tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=9, metavar="N", help="pairs of measurements")
    parser.add_argument("--only", default=",".join(PARTS), metavar="PARTS", help="parts to run")
    parser.add_argument("--small", action="store_true", help="tiny shapes, as a test")
    options = parser.parse_args()
    parts = options.only.split(",")
    if unknown := sorted({*parts} - {*PARTS}):
        parser.error(f"unknown parts {', '.join(unknown)}: choose from {', '.join(PARTS)}")
    torch.set_num_threads(1)
    disable_malloc_trim()  # as charlm does: the plain loop gains by it too
    small, pairs = options.small, options.pairs
    benchmarks: dict[str, Callable[[], Iterator[str]]] = {
        "train": lambda: bench_training(pairs, {"s": (1, 16, 4, 8)} if small else SHAPES),
        "cells": lambda: bench_comparison(pairs, *((20_000, 2, 8) if small else (100_000, 8, 64))),
        "zoo": lambda: (
            bench_zoo(pairs, 20_000, 2, 8, ("mingru",))
            if small
            else bench_zoo(pairs, 100_000, 8, 64)
        ),
        "matrix": lambda: (
            bench_matrix(pairs, 20_000, 2, 8, ("retnet",))
            if small
            else bench_matrix(pairs, 100_000, 8, 64)
        ),
        "scan": lambda: (
            bench_scan(pairs, 2, 8, 64, ("mingru",)) if small else bench_scan(pairs, 8, 128, 1024)
        ),
        "write": lambda: bench_generation(pairs, 16 if small else 512),
        "score": lambda: bench_scoring(max(1, pairs // 3), *((16, 64) if small else (512, 4096))),
        "extras": lambda: bench_extras(5 if small else 1500),
        "linear": lambda: bench_linearity(16, 20) if small else bench_linearity(128),
        "start": lambda: bench_start(min(pairs, 5)),
        "help": lambda: bench_help(pairs),
    }
    for part in parts:
        for row in benchmarks[part]():
            print(row, flush=True)


if __name__ == "__main__":
    main()
