"""Parity of random bits, a state-tracking task (Grazzi et al., 2024)."""

import math
from collections.abc import Sequence
from itertools import accumulate
from operator import xor

import torch

from charlm.results.tasks import TaskScore
from charlm.tasks.base import Task, TaskBatch, register_task


@register_task("parity")
class Parity(Task):
    """Predict after each bit whether the number of ones so far is odd.

    Source: Minsky & Papert (1969); for recurrent cells Sarrof et al. (2024) and Grazzi et al.
    (2024), "Unlocking state-tracking in linear RNNs through negative eigenvalues".

    Question: Can one bit of state be flipped again and again? Cells that are linear in their state
    and only shrink it, with factors from 0 to 1, cannot for long. This is the counterpart of tasks
    that only need storage.

    Protocol: T random bits. After each, the parity of all so far is predicted and trained on. The
    answer that counts is the last one.

    Length: T, the number of bits that the answer depends on.

    Oracle: Adds modulo 2. Its loss is 0.

    Chance: Both parities are equally likely: ln 2 and 1/2.

    At T = 8, the input, and below it the targets; the last 0 counts:

        01101001
        01001110
    """

    symbol_names = "01"
    has_auxiliary_targets = True

    def sequence_length(self, length: int) -> int:
        """Return the number of time steps."""
        return length

    def sample_batch(self, length: int, batch_size: int, generator: torch.Generator) -> TaskBatch:
        """Draw random bits."""
        x = torch.randint(2, (length, batch_size), generator=generator)
        is_last = torch.arange(length)[:, None].expand_as(x) == length - 1
        return TaskBatch(x, x.cumsum(0) % 2, is_last)

    def solve(self, x: Sequence[int]) -> list[int]:
        """Return the running parity."""
        return list(accumulate(x, xor))

    def chance_score(self, length: int) -> TaskScore:
        """Return the score of a coin flip."""
        del length
        return TaskScore(math.log(2), 1 / 2)
