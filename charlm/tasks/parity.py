"""Parity: is the number of ones odd? As in Grazzi et al. (2024)."""

import math
from collections.abc import Sequence
from itertools import accumulate
from operator import xor

import torch

from charlm.results.tasks import TaskScore
from charlm.tasks.base import Task, TaskBatch, register_task


@register_task("parity")
class Parity(Task):
    """After each bit: was the number of ones so far odd?

    Source: Minsky & Papert (1969); for recurrent cells Sarrof et al. (2024) and Grazzi et al.
    (2024), "Unlocking state-tracking in linear RNNs through negative eigenvalues".

    Question: Can one bit of state be turned over again and again? Cells that are linear in their
    state and only shrink it, with factors from 0 to 1, cannot for long: the counterweight to tasks
    where it is enough to hold.

    Protocol: T random bits. After each, the parity of all so far is to be predicted and is trained
    on; the answer that counts is the last one.

    Distance: T: how many bits the answer depends on, each of them.

    Oracle: Adds without carrying. Its loss is 0.

    Chance: Each parity is even: ln 2 and 1/2.

    At T = 8, what is read, and below it what is to be predicted; the last 0 counts:

        01101001
        01001110
    """

    symbol_names = "01"
    has_auxiliary_targets = True

    def sequence_length(self, distance: int) -> int:
        return distance

    def sample_batch(self, distance: int, streams: int, generator: torch.Generator) -> TaskBatch:
        x = torch.randint(2, (distance, streams), generator=generator)
        last = torch.arange(distance)[:, None].expand_as(x) == distance - 1
        return TaskBatch(x, x.cumsum(0) % 2, last)

    def solve(self, x: Sequence[int]) -> list[int]:
        return list(accumulate(x, xor))

    def chance_score(self, distance: int) -> TaskScore:
        del distance
        return TaskScore(math.log(2), 1 / 2)
