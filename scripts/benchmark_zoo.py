"""Benchmark of every cell: against an LSTM of as many parameters, and against its own loop."""

from collections.abc import Iterator

from benchmark_basics import VOCABULARY_SIZE, compare, our_training
from benchmark_matrix import matched_config, step_flops

from charlm.cells.base import CELLS, DEFAULT_NUM_HEADS
from charlm.kernels.registry import supported_kernels
from charlm.models.char_lm import CharLM


def bench_zoo(
    pairs: int,
    parameters: int,
    batch_size: int,
    seq_len: int,
    cells: tuple[str, ...] = (),
) -> Iterator[str]:
    """Compare training steps of every cell with those of an LSTM, and with those of its loop."""
    yield f"zoo, {parameters:,} parameters, {batch_size} × {seq_len}"
    yield "                     hidden kernel      FLOPs   time of lstm's   loop/ours"
    lstm = matched_config("lstm", 0, parameters, batch_size, seq_len)
    reference = our_training(lstm, "compiled")
    for cell in cells or tuple(CELLS):
        num_heads = DEFAULT_NUM_HEADS if "num_heads" in CELLS[cell].options else 0
        config = matched_config(cell, num_heads, parameters, batch_size, seq_len)
        kernel = supported_kernels(CharLM(config, VOCABULARY_SIZE).cells[0], "cpu")[0]
        ours = our_training(config, kernel)
        ratio = 1 / compare(reference, ours, pairs)[2]
        slower = "-"
        if kernel != "loop":
            slower = f"{compare(our_training(config, 'loop'), ours, max(1, pairs // 3))[2]:.2f}"
        flops = step_flops(config) / step_flops(lstm)
        row = f"{kernel:<9} {flops:7.2f} {ratio:16.2f} {slower:>11}"
        yield f"  {cell:<19}{config.hidden_size:6} {row}"
