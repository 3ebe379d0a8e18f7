"""Tests of training batches."""

import numpy as np
import pytest
import torch

from charlm.data.batches import BatchSampler
from charlm.errors import DataError


def test_batches_are_a_pure_function_of_seed_and_step() -> None:
    ids = np.random.default_rng(0).integers(0, 50, 1000, dtype=np.uint8)
    first, second = BatchSampler(ids, 4, 16, 7), BatchSampler(ids, 4, 16, 7)
    steps = [5, 40, 0, 5, 17]
    for step in steps:
        a, b = first[step], second[step]
        assert torch.equal(a.x, b.x) and torch.equal(a.y, b.y)
        assert a.is_epoch_start == b.is_epoch_start
    other_seed = BatchSampler(ids, 4, 16, 8)
    assert any(not torch.equal(first[step].x, other_seed[step].x) for step in steps)


def test_streams_continue_until_the_epoch_ends() -> None:
    ids = np.arange(60_000, dtype=np.uint16)[:1000]
    batches = BatchSampler(ids, 4, 16, 0)
    for step in range(2 * batches.windows):
        batch = batches[step]
        assert batch.is_epoch_start == (step % batches.windows == 0)
        assert torch.equal(batch.y, batch.x + 1)  # the next character; none wraps to the start
        assert torch.equal(batch.x[1:], batch.y[:-1])
        if not batch.is_epoch_start:
            assert torch.equal(batch.x[0], batches[step - 1].y[-1])


def test_epoch_reads_each_character_once_but_for_a_window() -> None:
    ids = np.arange(1000, dtype=np.uint16)
    batches = BatchSampler(ids, 4, 16, 0)
    first_read = []
    for epoch in range(6):
        steps = range(epoch * batches.windows, (epoch + 1) * batches.windows)
        targets = sorted(int(i) for step in steps for i in batches[step].y.flatten())
        assert len(set(targets)) == len(targets) > 999 - 4 * 16
        first_read.append(min(targets))
    assert len(set(first_read)) > 1  # what is left out differs between epochs


def test_text_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(
        DataError, match="= 65 are needed. Try more text, or a smaller --batch-size"
    ):
        BatchSampler(np.zeros(64, dtype=np.uint8), 4, 16, 0)
    assert BatchSampler(np.zeros(65, dtype=np.uint8), 4, 16, 0).windows == 1
