"""Benchmarks of cells over time: scans, writing, scoring, and time per token as texts grow."""

from collections.abc import Iterator

import numpy as np
import torch
from benchmark_basics import (
    NUM_GATES,
    TORCH_MODULES,
    VOCABULARY,
    VOCABULARY_SIZE,
    Step,
    compare,
    cpu_seconds,
    fastest_kernel,
    make_config,
    median_seconds,
    our_training,
    random_ids,
)
from torch import Tensor, nn

from charlm.cells.base import CELLS, Cell
from charlm.evaluation.generation import iter_generated
from charlm.evaluation.scoring import iter_token_nll
from charlm.kernels.registry import get_kernel, supported_kernels
from charlm.models.build import build_char_lm
from charlm.models.char_lm import CharLM


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


def weight_products(cell: str, hidden_size: int, length: int) -> Step:
    """Return the products of `length` tokens with the weights alone, which bounds the speed.

    A token reads the recurrent matrices of both layers, the input matrix of the second, and the
    output matrix. The input of the first layer is looked up.
    """
    gates = NUM_GATES[cell] * hidden_size
    rows = (gates, gates, gates, VOCABULARY_SIZE)
    products = [(torch.randn(n, hidden_size), torch.empty(n)) for n in rows]
    h = torch.randn(hidden_size)

    def run() -> None:
        for _ in range(length):
            for matrix, out in products:
                torch.mv(matrix, h, out=out)

    return run


def bench_generation(
    pairs: int, hidden_size: int, cells: tuple[str, ...] = tuple(TORCH_MODULES)
) -> Iterator[str]:
    """Compare generation with nn's modules, and with the products that it needs."""
    heads = "plain/s    ours/s   ours/plain   products/s   ours/products"
    yield f"writing, 2 × {hidden_size}, one stream   {heads}"
    for cell in cells:
        plain, ours = generators(cell, hidden_size, 200)
        a, b, ratio = compare(plain, ours, pairs)
        _, c, slower = compare(ours, weight_products(cell, hidden_size, 200), pairs)
        bound = f"{200 / c:12.0f} {1 / slower:13.2f}"
        yield f"  {cell:<5}                    {200 / a:9.0f} {200 / b:9.0f} {ratio:10.2f} {bound}"


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
