"""Benchmarks of training: the plain loop of tutorials, and the shape of a comparison."""

from collections.abc import Iterator

import torch
from benchmark_basics import (
    NUM_GATES,
    TORCH_MODULES,
    VOCABULARY_SIZE,
    Shape,
    Step,
    compare,
    fastest_kernel,
    make_config,
    median_seconds,
    our_training,
    random_ids,
)
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from charlm.comparison.budget_matching import SizeSearch
from charlm.data.batches import BatchSampler
from charlm.models.char_lm import CharLM


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
