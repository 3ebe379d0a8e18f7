"""Induction: a random string is repeated, as in Olsson et al. (2022)."""

import math
from collections.abc import Sequence

import torch

from charlm.results.tasks import TaskScore
from charlm.tasks.base import IGNORE_INDEX, Task, TaskBatch, register_task

STRING = 8  # letters
KINDS = 8  # of letters, and of other letters between


@register_task("induction")
class Induction(Task):
    """A random string is read, then noise, then the string again: how does it go on?

    Source: Olsson et al. (2022), "In-context learning and induction heads": random tokens repeated.

    Question: Does the first letter of something read before bring the rest back, past noise?

    Protocol: Eight random letters of eight kinds, T random letters of eight other kinds, the same
    eight again. At each letter of the second reading but the last, the next is to be predicted;
    only these seven are trained on and count.

    Distance: T: how many other letters lie between the two readings.

    Oracle: Says the string on. Its loss is 0.

    Chance: Letters are independent and even: ln 8 and 1/8.

    At T = 6, what is read, and below it what is to be predicted:

        cabbagedkpnmlocabbaged
                      abbaged
    """

    symbol_names = "abcdefghijklmnop"

    def sequence_length(self, distance: int) -> int:
        return 2 * STRING + distance

    def sample_batch(self, distance: int, streams: int, generator: torch.Generator) -> TaskBatch:
        string = torch.randint(KINDS, (STRING, streams), generator=generator)
        noise = torch.randint(KINDS, 2 * KINDS, (distance, streams), generator=generator)
        x = torch.cat((string, noise, string))
        y = torch.full_like(x, IGNORE_INDEX)
        y[-STRING:-1] = string[1:]
        return TaskBatch(x, y, y != IGNORE_INDEX)

    def solve(self, x: Sequence[int]) -> list[int]:
        return [IGNORE_INDEX] * (len(x) - STRING) + list(x[1:STRING]) + [IGNORE_INDEX]

    def chance_score(self, distance: int) -> TaskScore:
        del distance
        return TaskScore(math.log(KINDS), 1 / KINDS)
