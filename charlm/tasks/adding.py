"""Adding problem of Hochreiter & Schmidhuber (1997)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from charlm.models.regressor import RecurrentRegressor
from charlm.results.tasks import TaskScore
from charlm.tasks.base import IGNORE_INDEX, Task, TaskBatch, register_task

TOLERANCE = 0.04  # of a correct answer, as in Hochreiter & Schmidhuber


@register_task("adding")
class Adding(Task):
    """Add two marked numbers among many.

    Source: Hochreiter & Schmidhuber (1997); with two inputs as in Arjovsky et al. (2016).

    Question: Across how many irrelevant numbers can two be remembered exactly?

    Protocol: Each of T steps has a number, uniform from 0 to 1, and a mark: 1 at one step of the
    first half and at one of the second, else 0. After the last step, the sum of the two marked
    numbers is predicted. The loss is the squared error; an error below 0.04 is correct.

    Length: T, the length of the sequence. The marked numbers are anywhere in its halves.

    Oracle: Adds the marked numbers. Its loss is 0.

    Chance: Without memory the best prediction is 1, the mean. Its squared error is the variance of
    the sum of two such numbers, 2/12 = 1/6. The sum is triangular, so it is within 0.04 of 1 with
    probability 1 - 0.96 * 0.96 = 0.0784.

    At T = 6, where * is the mark; the target at the end is 0.5 + 0.8:

        0.3  0.5* 0.9  0.1  0.8* 0.2
                                 1.3
    """

    symbol_names = "v*"  # the number and its mark
    model = RecurrentRegressor
    min_length = 2

    def sequence_length(self, length: int) -> int:
        """Return the number of time steps."""
        return length

    def sample_batch(self, length: int, batch_size: int, generator: torch.Generator) -> TaskBatch:
        """Draw sequences of numbers and marks."""
        numbers = torch.rand(length, batch_size, generator=generator)
        half = length // 2
        first = torch.randint(half, (1, batch_size), generator=generator)
        second = torch.randint(half, length, (1, batch_size), generator=generator)
        marks = torch.zeros(length, batch_size).scatter_(0, torch.cat((first, second)), 1.0)
        y = torch.full((length, batch_size), float(IGNORE_INDEX))
        y[-1] = (numbers * marks).sum(0)
        return TaskBatch(torch.stack((numbers, marks), -1), y, y != IGNORE_INDEX)

    def solve(self, x: Sequence[Sequence[float]]) -> list[float]:
        """Return the sum of the marked numbers as the last target."""
        return [IGNORE_INDEX] * (len(x) - 1) + [sum(number for number, mark in x if mark)]

    def chance_score(self, length: int) -> TaskScore:
        """Return the score of always predicting 1."""
        del length
        return TaskScore(1 / 6, 1 - (1 - TOLERANCE) ** 2)

    def is_correct(self, predictions: Tensor, y: Tensor) -> Tensor:
        """Return which predictions, (time, batch), are within the tolerance."""
        return (predictions - y).abs() < TOLERANCE
