"""The adding problem of Hochreiter & Schmidhuber (1997)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from charlm.models.regressor import RecurrentRegressor
from charlm.results.tasks import TaskScore
from charlm.tasks.base import IGNORE_INDEX, Task, TaskBatch, register_task

TOLERANCE = 0.04  # what Hochreiter & Schmidhuber count as right


@register_task("adding")
class Adding(Task):
    """Two marked numbers among many must be added.

    Source: Hochreiter & Schmidhuber (1997); with two inputs as by Arjovsky et al. (2016).

    Question: Over how many numbers that do not matter can two be held exactly?

    Protocol: T times a number is read, drawn evenly from 0 to 1, and a mark, which is 1 at one time
    of the first half and at one of the second, else 0. After the last, the sum of the two marked
    numbers is to be predicted. The loss is the squared error; within 0.04 is right.

    Distance: T, the length of the sequence: the two are read anywhere in its halves.

    Oracle: Adds the numbers that are marked. Its loss is 0.

    Chance: One who has read nothing says 1, the mean. The squared error is then the variance of the
    sum of two such numbers, 2/12 = 1/6; their sum is triangular, so within 0.04 of 1 with
    probability 1 - 0.96 * 0.96 = 0.0784.

    At T = 6, where * is the mark; 0.5 + 0.8 is to be predicted at the end:

        0.3  0.5* 0.9  0.1  0.8* 0.2
                                 1.3
    """

    symbol_names = "v*"  # the number and its mark
    model = RecurrentRegressor
    min_distance = 2

    def sequence_length(self, distance: int) -> int:
        return distance

    def sample_batch(self, distance: int, streams: int, generator: torch.Generator) -> TaskBatch:
        numbers = torch.rand(distance, streams, generator=generator)
        half = distance // 2
        first = torch.randint(half, (1, streams), generator=generator)
        second = torch.randint(half, distance, (1, streams), generator=generator)
        marks = torch.zeros(distance, streams).scatter_(0, torch.cat((first, second)), 1.0)
        y = torch.full((distance, streams), float(IGNORE_INDEX))
        y[-1] = (numbers * marks).sum(0)
        return TaskBatch(torch.stack((numbers, marks), -1), y, y != IGNORE_INDEX)

    def solve(self, x: Sequence[Sequence[float]]) -> list[float]:
        return [IGNORE_INDEX] * (len(x) - 1) + [sum(number for number, mark in x if mark)]

    def chance_score(self, distance: int) -> TaskScore:
        del distance
        return TaskScore(1 / 6, 1 - (1 - TOLERANCE) ** 2)

    def is_correct(self, predictions: Tensor, y: Tensor) -> Tensor:
        return (predictions - y).abs() < TOLERANCE
