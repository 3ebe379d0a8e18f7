"""Tests of the memory that training is said to need."""

import pytest

from charlm.config import validate_config
from charlm.models.cost import estimate_training_memory

TOKENS, HEADS, HEAD_SIZE = 16 * 64, 4, 64
MATRICES = 4 * TOKENS * HEADS * HEAD_SIZE**2  # bytes, of one matrix of each head per token


def estimate(cell: str, kernel: str = "auto") -> int:
    sizes = {"hidden_size": HEADS * HEAD_SIZE, "batch_size": 16, "seq_len": 64}
    return estimate_training_memory(validate_config({"cell": cell, "kernel": kernel, **sizes}), 65)


@pytest.mark.parametrize("cell", ["m2rnn", "deltanet"])
def test_loop_keeps_several_matrices_per_token(cell: str) -> None:
    """Measured: 3.1 of m2rnn, 2 of deltanet."""
    assert 3 * MATRICES < estimate(cell, "loop") < 6 * MATRICES


def test_other_kernels_keep_one_matrix_of_several_tokens() -> None:
    assert estimate("deltanet", "scan") < MATRICES < estimate("deltanet", "loop")


def test_cell_without_another_kernel_is_counted_with_the_loop() -> None:
    assert estimate("m2rnn") == estimate("m2rnn", "loop")
