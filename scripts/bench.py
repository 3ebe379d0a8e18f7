"""Speed against the plain torch.nn loop: pairs in one process, one thread, medians of ratios.

    python scripts/bench.py [--pairs 9] [--small]

Training: what everybody does (nn.Embedding, nn.RNN/GRU/LSTM, nn.Linear, cross_entropy, backward,
clip, Adam) against our update with the fused kernel, and with the plain loop. Sampling: nn's module
one character at a time against ours. A ratio above 1 says that ours is faster.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from charlm.alphabet import Alphabet
from charlm.config import checked
from charlm.corpus import Batches
from charlm.learner import Learner
from charlm.model import make
from charlm.sample import write

SYMBOLS = 65
Step = Callable[[], object]
THEIRS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
SHAPES = {  # layers, hidden, batch, time
    "a": (2, 128, 50, 50),
    "b": (1, 512, 64, 128),
}


def plain(cell: str, layers: int, hidden: int, ids: np.ndarray, batch: int, time: int) -> Step:
    """One training step of the loop that every tutorial has."""
    embed, recur = nn.Embedding(SYMBOLS, hidden), THEIRS[cell](hidden, hidden, layers)
    head = nn.Linear(hidden, SYMBOLS)
    parameters = [p for module in (embed, recur, head) for p in module.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    batches = Batches(ids, batch, time, 0)
    state, update = None, 0

    def step() -> None:
        nonlocal state, update
        read = batches[update]
        update += 1
        optimizer.zero_grad()
        h, after = recur(embed(read.x), None if read.fresh else state)
        state = tuple(s.detach() for s in after) if cell == "lstm" else after.detach()
        cross_entropy(head(h).flatten(0, 1), read.y.flatten()).backward()
        clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return step


def ours(cell: str, kernel: str, layers: int, hidden: int, ids: np.ndarray, b: int, t: int) -> Step:
    config = checked(
        {
            "cell": cell,
            "layers": layers,
            "hidden": hidden,
            "embedding": hidden,
            "batch": b,
            "time": t,
        }
    )
    learner = Learner(make(config, SYMBOLS, kernel, "cpu"), config, 10**6)
    batches = Batches(ids, b, t, 0)
    return lambda: learner.learn(batches[learner.update])


def writers(cell: str, hidden: int, count: int) -> tuple[Step, Step]:
    """Writing `count` characters: nn's module step by step, and ours."""
    embed, recur = nn.Embedding(SYMBOLS, hidden), THEIRS[cell](hidden, hidden, 2)
    head = nn.Linear(hidden, SYMBOLS)

    def theirs() -> None:
        state, symbol = None, torch.zeros(1, 1, dtype=torch.long)
        with torch.inference_mode():
            for _ in range(count):
                h, state = recur(embed(symbol), state)
                symbol = torch.multinomial(head(h[0]).softmax(-1), 1)

    alphabet = Alphabet("characters", tuple(range(32, 32 + SYMBOLS - 1)))
    config = checked({"cell": cell, "layers": 2, "hidden": hidden, "embedding": hidden})
    model = make(config, SYMBOLS, "loop", "cpu")

    def mine() -> None:
        list(write(model, alphabet, "", count))

    return theirs, mine


def paired(first: Step, second: Step, pairs: int) -> tuple[float, float, float]:
    """Medians: seconds of the first, of the second, and of the ratio first / second, A B A B …"""

    def seconds(run: Step) -> float:
        began = time.process_time()
        run()
        return time.process_time() - began

    first(), second()
    both = [(seconds(first), seconds(second)) for _ in range(pairs)]
    ratios = [a / b for a, b in both]
    return *(statistics.median(column) for column in zip(*both, strict=True)), statistics.median(
        ratios
    )


def rows(pairs: int, shapes: dict[str, tuple[int, int, int, int]], hidden: int) -> Iterator[str]:
    ids = np.random.default_rng(0).integers(0, SYMBOLS, 200_000, dtype=np.uint8)
    yield "training step                plain ms   ours ms   plain / ours"
    for name, (layers, units, batch, length) in shapes.items():
        for cell in THEIRS:
            for kernel in ("fused", "loop"):
                theirs = plain(cell, layers, units, ids, batch, length)
                mine = ours(cell, kernel, layers, units, ids, batch, length)
                a, b, ratio = paired(theirs, mine, pairs if name == "a" else max(3, pairs // 3))
                times = f"{a * 1e3:9.0f} {b * 1e3:9.0f} {ratio:10.2f}"
                yield f"{name} {cell:<5} {kernel:<6}             {times}"
    yield f"writing, 2 layers of {hidden:<4}    plain/s    ours/s     ours / plain"
    for cell in THEIRS:
        theirs, mine = writers(cell, hidden, 100)
        a, b, ratio = paired(theirs, mine, pairs)
        yield f"  {cell:<5}                    {100 / a:9.0f} {100 / b:9.0f} {ratio:10.2f}"
    yield "help and usage errors, wall seconds (target 0.35)"
    for words in (["--help"], ["train", "--help"], ["train", "--no-such-option"]):
        taken = []
        for _ in range(pairs):
            began = time.perf_counter()
            command = [sys.executable, "-m", "charlm", *words]
            subprocess.run(command, capture_output=True, check=False)
            taken.append(time.perf_counter() - began)
        yield f"  charlm {' '.join(words):<22} {statistics.median(taken):6.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--small", action="store_true", help="tiny shapes: only to see it work")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    shapes, hidden = ({"s": (1, 16, 4, 8)}, 16) if asked.small else (SHAPES, 512)
    for row in rows(asked.pairs, shapes, hidden):
        print(row, flush=True)


if __name__ == "__main__":
    main()
