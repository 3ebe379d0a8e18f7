"""Benchmark of cells whose state is a matrix per head: against an LSTM, and of their kernels."""

from collections.abc import Iterator

import msgspec
from benchmark_basics import (
    RECIPE,
    VOCABULARY_SIZE,
    compare,
    our_training,
)

from charlm.cells.base import CELLS
from charlm.comparison.budget_matching import SizeSearch
from charlm.config import Config, validate_config
from charlm.kernels.registry import supported_kernels
from charlm.models.char_lm import CharLM

EMBEDDING = 64
MATRIX_CELLS = (
    *("retnet", "mamba2", "gla", "hgrn2", "deltanet", "gated-deltanet", "deltaproduct"),
    *("rwkv7", "mamba3", "matrix-lstm", "m2rnn", "mamba"),
)


def matched_config(
    cell: str, num_heads: int, parameters: int, batch_size: int, seq_len: int
) -> Config:
    """Return the settings of a cell with so many parameters, embedding and prediction included."""
    sizes = {"embedding_dim": EMBEDDING, "batch_size": batch_size, "seq_len": seq_len}
    heads = {"num_heads": num_heads} if num_heads else {}
    config = validate_config({"cell": cell, **sizes, **heads, **RECIPE})
    hidden_size = SizeSearch(config, VOCABULARY_SIZE, "params", CharLM).nearest(parameters)
    return msgspec.structs.replace(config, hidden_size=hidden_size)


def step_flops(config: Config) -> int:
    """Return the FLOPs of a token: products of the step, of its projection and prediction.

    The input projection counts by token, although the compiled kernel looks it up in a table.
    """
    cell = CharLM(config, VOCABULARY_SIZE).cells[0]
    return cell.flops + 2 * cell.hidden_size * VOCABULARY_SIZE


def bench_matrix(
    pairs: int,
    parameters: int,
    batch_size: int,
    seq_len: int,
    cells: tuple[str, ...] = MATRIX_CELLS,
) -> Iterator[str]:
    """Compare training steps with those of an LSTM, and with the cell's other kernels."""
    yield f"matrix states, {parameters:,} parameters, {batch_size} × {seq_len}"
    yield "                 heads hidden kernel      FLOPs   time of lstm's   scan/ours   loop/ours"
    lstm = matched_config("lstm", 0, parameters, batch_size, seq_len)
    reference = our_training(lstm, "compiled")
    for cell in cells:
        options = CELLS[cell].options
        for num_heads in (4, 8) if "num_heads" in options else (0,):
            config = matched_config(cell, num_heads, parameters, batch_size, seq_len)
            model = CharLM(config, VOCABULARY_SIZE)
            kernels = supported_kernels(model.cells[0], "cpu")
            ours = our_training(config, kernels[0])
            ratio = 1 / compare(reference, ours, pairs)[2]
            flops = step_flops(config) / step_flops(lstm)
            others = []
            for other in ("scan", "loop"):
                is_other = other in kernels[1:]
                slower = compare(our_training(config, other), ours, 3)[2] if is_other else None
                others.append(f"{slower:11.2f}" if slower else f"{'-':>11}")
            row = f"{kernels[0]:<9} {flops:7.2f} {ratio:16.2f} {' '.join(others)}"
            yield f"  {cell:<15}{num_heads or '-':>5} {config.hidden_size:6} {row}"
