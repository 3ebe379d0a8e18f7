"""Benchmarks: pairs of runs in one process, one thread, CPU seconds, medians.

    python scripts/bench.py [--pairs 9] [--only train,cells,start,...]

train   training step of the plain loop (nn.Embedding, nn.RNN/GRU/LSTM, nn.Linear, cross_entropy,
        backward, clipping, Adam) against ours; floor: the matrix products alone, in the same run
cells   the same at the shape of a comparison: 100,000 parameters, 8 streams, windows of 64
zoo     every cell with the LSTM's parameters: its time against the LSTM's, and against the loop of
        its paper (each token by itself, with autograd)
scan    cells that are linear in their state, 1,024 tokens at once, against their loop
write   one stream, token by token: nn's module against ours
score   exact evaluation of one stream: PyTorch's own kernel against ours
extras  cost of progress, logging and checkpoints in a run
linear  time per token as windows, texts and steps grow
start   CPU time of commands that do one update or write one character, and of a worker that does
        one update, forked and as a process of its own
help    time of --help and of a usage error
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, embedding
from torch.nn.utils import clip_grad_norm_

from charlm.cells.base import CELLS, Cell, State
from charlm.comparison.budget_matching import SizeSearch
from charlm.config import Config, validate_config
from charlm.data.batches import BatchSampler
from charlm.data.corpus import load_corpus
from charlm.data.vocabulary import Vocabulary
from charlm.evaluation.generation import iter_generated
from charlm.evaluation.scoring import iter_token_nll, validation_bpc
from charlm.execution.device import disable_malloc_trim
from charlm.execution.fork_server import CAN_FORK, ForkedWorker, start_local_worker
from charlm.kernels.registry import Unroll, get_kernel, supported_kernels
from charlm.models.build import build_char_lm
from charlm.models.char_lm import CharLM
from charlm.reporting.terminal.progress import TerminalProgress
from charlm.runs.run import Run
from charlm.training.loop import run_training_loop
from charlm.training.planning import plan_run
from charlm.training.trainer import Trainer

VOCABULARY_SIZE = 65
VOCABULARY = Vocabulary("chars", tuple(range(32, 32 + VOCABULARY_SIZE - 1)))
TORCH_MODULES = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
NUM_GATES = {"rnn": 1, "gru": 3, "lstm": 4}
Shape = tuple[int, int, int, int]  # layers, hidden size, batch size, sequence length
SHAPES: dict[str, Shape] = {
    "a": (2, 128, 50, 50),
    "b": (1, 512, 64, 128),
    "c": (3, 512, 64, 128),
}
# Any recipe: it does not change how long a step takes.
RECIPE = {"learning_rate": 1e-3, "grad_clip": 1.0, "recurrent_init": "default"}
Step = Callable[[], object]


def cpu_seconds(run: Step) -> float:
    """Return the CPU seconds of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def median_seconds(run: Step, repeats: int) -> float:
    """Return the median of several calls, after one to warm up."""
    run()
    return statistics.median(cpu_seconds(run) for _ in range(repeats))


def compare(first: Step, second: Step, pairs: int) -> tuple[float, float, float]:
    """Return the median seconds of both, and the median ratio first / second, of A B A B ..."""
    first(), second()
    times = [(cpu_seconds(first), cpu_seconds(second)) for _ in range(pairs)]
    ratio = statistics.median(a / b for a, b in times)
    return statistics.median(a for a, _ in times), statistics.median(b for _, b in times), ratio


def random_ids(length: int = 400_000) -> np.ndarray:
    """Return random token ids."""
    return np.random.default_rng(0).integers(0, VOCABULARY_SIZE, length, dtype=np.uint8)


def plain_training(cell: str, shape: Shape, embedding_dim: int = 0) -> Step:
    """Return one training step of the loop that every tutorial shows.

    Args:
        cell: rnn, gru or lstm.
        shape: Size of model and batch.
        embedding_dim: Width of the embedding; 0: the hidden size.
    """
    num_layers, hidden_size, batch_size, seq_len = shape
    embed = nn.Embedding(VOCABULARY_SIZE, embedding_dim or hidden_size)
    recurrent = TORCH_MODULES[cell](embedding_dim or hidden_size, hidden_size, num_layers)
    head = nn.Linear(hidden_size, VOCABULARY_SIZE)
    parameters = [p for module in (embed, recurrent, head) for p in module.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    batches = BatchSampler(random_ids(), batch_size, seq_len, 0)
    state, number = None, 0

    def step() -> None:
        nonlocal state, number
        batch = batches[number]
        number += 1
        optimizer.zero_grad()
        h, last = recurrent(embed(batch.x), None if batch.is_epoch_start else state)
        state = tuple(s.detach() for s in last) if cell == "lstm" else last.detach()
        cross_entropy(head(h).flatten(0, 1), batch.y.flatten()).backward()
        clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return step


def make_config(cell: str, shape: Shape, embedding_dim: int = 0) -> Config:
    """Return the settings of a model whose embedding is as wide as its layers, unless given."""
    num_layers, hidden_size, batch_size, seq_len = shape
    return validate_config(
        {
            "cell": cell,
            "num_layers": num_layers,
            "hidden_size": hidden_size,
            "embedding_dim": embedding_dim or hidden_size,
            "batch_size": batch_size,
            "seq_len": seq_len,
            **RECIPE,
        }
    )


def fastest_kernel(cell: str, input_size: int, hidden_size: int) -> str:
    """Return the kernel that `auto` means on this machine."""
    return supported_kernels(CELLS[cell](input_size, hidden_size), "cpu")[0]


def our_training(config: Config, kernel: str, unroll: Unroll | None = None) -> Step:
    """Return one of our training steps; `unroll` replaces the kernel."""
    model = build_char_lm(config, VOCABULARY_SIZE, kernel, "cpu")
    if unroll:
        model.unrolls = [unroll] * config.num_layers
    trainer = Trainer(model, config, 10**6)
    batches = BatchSampler(random_ids(), config.batch_size, config.seq_len, 0)
    return lambda: trainer.train_step(batches[trainer.step])


def floor_seconds(cell: str, shape: Shape) -> float:
    """Return the time of a training step's matrix products; the first layer's input is indexed."""
    num_layers, hidden_size, batch_size, seq_len = shape
    gates, tokens = NUM_GATES[cell] * hidden_size, seq_len * batch_size
    U, h, d = (
        torch.randn(gates, hidden_size),
        torch.randn(batch_size, hidden_size),
        torch.randn(batch_size, gates),
    )
    H, D = torch.randn(tokens, hidden_size), torch.randn(tokens, gates)
    V, S = torch.randn(VOCABULARY_SIZE, hidden_size), torch.randn(tokens, VOCABULARY_SIZE)
    out, grad = torch.empty(batch_size, gates), torch.empty(batch_size, hidden_size)
    per_step = median_seconds(lambda: torch.mm(h, U.t(), out=out), 51)
    per_step += median_seconds(lambda: torch.mm(d, U, out=grad), 51)
    weights = median_seconds(lambda: D.t() @ H, 5)
    inputs = median_seconds(lambda: H @ U.t(), 5) + median_seconds(lambda: D @ U, 5)
    head_products = (lambda: H @ V.t(), lambda: S @ V, lambda: S.t() @ H)
    head = sum(median_seconds(run, 5) for run in head_products)
    return (
        num_layers * (seq_len * per_step + weights) + (num_layers - 1) * (weights + inputs) + head
    )


def bench_training(
    pairs: int, shapes: dict[str, Shape], cells: tuple[str, ...] = tuple(TORCH_MODULES)
) -> Iterator[str]:
    """Compare training steps with the plain loop."""
    yield "training step           plain ms   ours ms   plain/ours   ours/floor"
    for name, shape in shapes.items():
        for cell in cells:
            lowest = floor_seconds(cell, shape)
            config = make_config(cell, shape)
            # The fastest kernel, and the fastest without a compiler.
            for kernel in dict.fromkeys((fastest_kernel(cell, shape[1], shape[1]), "native")):
                repeats = pairs if name == "a" else max(3, pairs // 3)
                plain, ours = plain_training(cell, shape), our_training(config, kernel)
                a, b, ratio = compare(plain, ours, repeats)
                row = f"{a * 1e3:9.0f} {b * 1e3:9.0f} {ratio:12.2f} {b / lowest:12.2f}"
                yield f"{name} {cell:<5} {kernel:<10}     {row}"


COMPARISON_EMBEDDING = 32


def bench_comparison(pairs: int, parameters: int, batch_size: int, seq_len: int) -> Iterator[str]:
    """Compare training steps with the plain loop at the shape of a comparison."""
    yield f"{parameters:,} parameters, {batch_size} × {seq_len}"
    yield "       hidden   plain s/million   ours s/million   plain/ours   ours/floor"
    for cell in TORCH_MODULES:
        config = make_config(cell, (1, 1, batch_size, seq_len), COMPARISON_EMBEDDING)
        hidden_size = SizeSearch(config, VOCABULARY_SIZE, "params", CharLM).nearest(parameters)
        shape = (1, hidden_size, batch_size, seq_len)
        config = make_config(cell, shape, COMPARISON_EMBEDDING)
        plain = plain_training(cell, shape, COMPARISON_EMBEDDING)
        kernel = fastest_kernel(cell, COMPARISON_EMBEDDING, hidden_size)
        a, b, ratio = compare(repeat(plain, 10), repeat(our_training(config, kernel), 10), pairs)
        lowest = 10 * floor_seconds(cell, shape)
        a_million, b_million = (seconds * 1e5 / (batch_size * seq_len) for seconds in (a, b))
        row = f"{a_million:17.1f} {b_million:16.1f} {ratio:12.2f} {b / lowest:12.2f}"
        yield f"  {cell:<5}{hidden_size:6}{row}"


def repeat(step: Step, times: int) -> Step:
    """Return a function that does this many steps."""

    def run() -> None:
        for _ in range(times):
            step()

    return run


def textbook_loop(
    cell: Cell, x: Tensor, state: State, ids: Tensor | None = None
) -> tuple[Tensor, State]:
    """Unroll as papers do: each token is embedded, projected and stepped by itself."""
    outputs = []
    for x_t in x if ids is None else embedding(ids, x):
        state = cell.step(cell.project_inputs(x_t), state)
        outputs.append(state[0])
    return torch.stack(outputs), state


def bench_zoo(
    pairs: int, parameters: int, batch_size: int, seq_len: int, others: tuple[str, ...] = (),
) -> Iterator[str]:  # fmt: skip
    """Compare the cells with each other, and each with its textbook loop."""
    yield f"zoo, {parameters:,} parameters, {batch_size} × {seq_len}"
    yield "                 hidden kernel    µs/token   of lstm's   textbook loop/ours"
    sizes = {"embedding_dim": 32, "batch_size": batch_size, "seq_len": seq_len}
    lstm_seconds = None
    for cell in ("lstm", *(others or (name for name in CELLS if name != "lstm"))):
        config = validate_config({"cell": cell, **sizes, **RECIPE})
        hidden_size = SizeSearch(config, VOCABULARY_SIZE, "params", CharLM).nearest(parameters)
        config = msgspec.structs.replace(config, hidden_size=hidden_size)
        kernel = fastest_kernel(cell, 32, config.hidden_size)
        textbook = our_training(config, "loop", textbook_loop)
        _, b, ratio = compare(textbook, our_training(config, kernel), pairs)
        lstm_seconds = lstm_seconds or b
        per_token = b * 1e6 / batch_size / seq_len
        row = f"{per_token:9.2f} {b / lstm_seconds:11.2f} {ratio:15.2f}"
        yield f"  {cell:<17}{config.hidden_size:4} {kernel:<9} {row}"


def forward_and_backward(cell: Cell, kernel: str, x: Tensor) -> Step:
    """Return one forward and backward pass."""
    unroll = get_kernel(kernel, cell, "cpu")

    def run() -> None:
        outputs, _ = unroll(cell, x, cell.initial_state(x.shape[1]), None)
        outputs.sum().backward()

    return run


LINEAR_CELLS = ("mingru", "minlstm", "qrnn", "rg-lru", "lru", "matrix-lstm")


def bench_scan(
    pairs: int, batch_size: int, hidden_size: int, seq_len: int,
    cells: tuple[str, ...] = LINEAR_CELLS,
) -> Iterator[str]:  # fmt: skip
    """Compare linear cells with their loop."""
    yield f"linear cells, {seq_len:,} tokens at once, {batch_size} streams, {hidden_size} units"
    yield "                 kernel       loop ms   ours ms   loop/ours"
    for name in cells:
        cell = CELLS[name](hidden_size, hidden_size)
        x = torch.randn(seq_len, batch_size, hidden_size)
        for kernel in (k for k in supported_kernels(cell, "cpu") if k in ("compiled", "scan")):
            loop, ours = (forward_and_backward(cell, k, x) for k in ("loop", kernel))
            a, b, ratio = compare(loop, ours, pairs)
            yield f"  {name:<15}{kernel:<10} {a * 1e3:9.0f} {b * 1e3:9.0f} {ratio:11.2f}"


def generators(cell: str, hidden_size: int, length: int) -> tuple[Step, Step]:
    """Return the generation of `length` tokens: nn's module step by step, and ours."""
    embed = nn.Embedding(VOCABULARY_SIZE, hidden_size)
    recurrent = TORCH_MODULES[cell](hidden_size, hidden_size, 2)
    head = nn.Linear(hidden_size, VOCABULARY_SIZE)

    def plain() -> None:
        state, token = None, torch.zeros(1, 1, dtype=torch.long)
        with torch.inference_mode():
            for _ in range(length):
                h, state = recurrent(embed(token), state)
                token = torch.multinomial(head(h[0]).softmax(-1), 1)

    config = make_config(cell, (2, hidden_size, 1, 1))
    kernel = fastest_kernel(cell, hidden_size, hidden_size)
    model = build_char_lm(config, VOCABULARY_SIZE, kernel, "cpu")
    return plain, lambda: list(iter_generated(model, VOCABULARY, "", length))


def bench_generation(
    pairs: int, hidden_size: int, cells: tuple[str, ...] = tuple(TORCH_MODULES)
) -> Iterator[str]:
    """Compare generation with nn's modules."""
    yield f"writing, 2 × {hidden_size}, one stream   plain/s    ours/s   ours/plain"
    for cell in cells:
        a, b, ratio = compare(*generators(cell, hidden_size, 200), pairs)
        yield f"  {cell:<5}                    {200 / a:9.0f} {200 / b:9.0f} {ratio:10.2f}"


def scoring(model: CharLM, ids: np.ndarray) -> Step:
    """Return the exact evaluation of a text."""
    return lambda: list(iter_token_nll(model, ids, VOCABULARY))


def bench_scoring(pairs: int, hidden_size: int, length: int) -> Iterator[str]:
    """Compare evaluation with PyTorch's own kernels."""
    yield f"scoring, 2 × {hidden_size}, one stream  torch/s    ours/s   ours/torch"
    ids = random_ids(length)[:, None] % (VOCABULARY_SIZE - 1)
    for cell in TORCH_MODULES:
        config = make_config(cell, (2, hidden_size, 1, 1))
        kernels = ("native", fastest_kernel(cell, hidden_size, hidden_size))
        native, ours = (build_char_lm(config, VOCABULARY_SIZE, k, "cpu") for k in kernels)
        a, b, ratio = compare(scoring(native, ids), scoring(ours, ids), pairs)
        yield f"  {cell:<5}                    {length / a:9.0f} {length / b:9.0f} {ratio:10.2f}"


def bench_extras(max_steps: int) -> Iterator[str]:
    """Measure what a run of `charlm train` costs besides its steps and its validation."""
    with tempfile.TemporaryDirectory() as directory:
        text = Path(directory) / "text.txt"
        text.write_bytes(bytes(random_ids(300_000) + 32))
        settings = {"hidden_size": 128, "max_steps": max_steps, "eval_every": max_steps, **RECIPE}
        corpus = load_corpus([str(text)], validate_config(settings))
        record = plan_run(validate_config(settings), corpus, "cpu").record
        config = record.config  # the recipe chooses the batch
        run = Run.create(Path(directory) / "run", record, corpus.vocabulary)
        model = build_char_lm(config, corpus.vocabulary.size, record.kernel, "cpu")
        trainer = Trainer(model, config, max_steps)
        tokens_per_step = config.batch_size * config.seq_len
        start = time.perf_counter()
        with TerminalProgress(1.0).training(max_steps, tokens_per_step, None) as show:
            for event in run_training_loop(run, trainer, corpus):
                show(event)
        total = time.perf_counter() - start
        start = time.perf_counter()
        validation_bpc(model, corpus.split("valid"), corpus.vocabulary)
        total -= time.perf_counter() - start
    fraction = (total - trainer.seconds) / total
    yield f"progress, logging and checkpoints (target 2 %): {fraction:.1%} of {total:.1f} s"


def bench_linearity(hidden_size: int, scale: int = 1) -> Iterator[str]:
    """Measure the time per token as windows, texts and runs grow; `scale` makes them shorter."""
    yield "time per token, relative to the first"
    kernel = fastest_kernel("lstm", hidden_size, hidden_size)
    first = None
    for seq_len in (32 // scale, 128 // scale, 512 // scale, 2048 // scale):
        config = make_config("lstm", (1, hidden_size, 8, seq_len))
        per_token = median_seconds(our_training(config, kernel), 7) / seq_len
        first = first or per_token
        yield f"  window of {seq_len:5} tokens          {per_token / first:6.2f}"
    config = make_config("lstm", (1, hidden_size, 1, 1))
    model = build_char_lm(config, VOCABULARY_SIZE, kernel, "cpu")
    first = None
    for length in (4_000 // scale, 40_000 // scale, 160_000 // scale):
        ids = random_ids(length)[:, None] % (VOCABULARY_SIZE - 1)
        per_token = median_seconds(scoring(model, ids), 3) / length
        first = first or per_token
        yield f"  text of {length:9,} tokens        {per_token / first:6.2f}"
    step = our_training(make_config("lstm", (1, hidden_size, 8, 64)), kernel)
    first = None
    for count in (20 // scale, 200 // scale, 1000 // scale):
        per_step = sum(cpu_seconds(step) for _ in range(count)) / count
        first = first or per_step
        yield f"  {count:5} more steps                {per_step / first:6.2f}"


def child_seconds() -> float:
    """Return the CPU seconds of all processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def bench_start(repeats: int) -> Iterator[str]:
    """Measure how long commands and workers take to start."""
    yield "CPU seconds of a process, imports and exit included"
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "text").write_bytes(bytes(random_ids(20_000) + 32))
        train = ["train", str(directory / "text"), "--max-steps", "1", "--final-eval", "none"]

        def start(arguments: list[str]) -> float:
            before = child_seconds()
            command = [sys.executable, "-m", "charlm", *arguments]
            subprocess.run(command, capture_output=True, check=True)
            return child_seconds() - before

        runs = [str(directory / f"process-{i}") for i in range(repeats + 1)]
        start([*train, "--run", runs[0]])  # compiles the kernel
        times = statistics.median(start([*train, "--run", run]) for run in runs[1:])
        yield f"  charlm train, one update           {times:6.2f}"
        sample = ["sample", runs[0], "--length", "1"]
        times = statistics.median(start(sample) for _ in range(repeats))
        yield f"  charlm sample, one character       {times:6.2f}"

        def worker_seconds(run: str) -> float:
            log = directory / "log"
            worker = start_local_worker([*train, "--run", run], log, directory)
            assert isinstance(worker, ForkedWorker), "no fork server on this system"
            seconds = 0.0
            while worker.poll() is None:
                with suppress(OSError):  # it has just ended
                    seconds = process_seconds(worker.pid)
                time.sleep(0.01)
            return seconds

        if CAN_FORK:
            runs = [str(directory / f"worker-{i}") for i in range(repeats)]
            times = statistics.median(worker_seconds(run) for run in runs)
            yield f"  worker of a comparison, one update {times:6.2f}"


def process_seconds(pid: int) -> float:
    """Return the CPU seconds of a running process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime


def bench_help(repeats: int) -> Iterator[str]:
    """Measure help and usage errors."""
    yield "help and usage errors, wall seconds (target 0.35)"
    for arguments in (["--help"], ["train", "--help"], ["train", "--no-such-option"]):
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            command = [sys.executable, "-m", "charlm", *arguments]
            subprocess.run(command, capture_output=True, check=False)
            times.append(time.perf_counter() - start)
        yield f"  charlm {' '.join(arguments):<22} {statistics.median(times):6.2f}"


PARTS = ("train", "cells", "zoo", "scan", "write", "score", "extras", "linear", "start", "help")


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
            else bench_zoo(pairs, 150_000, 32, 64)
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
