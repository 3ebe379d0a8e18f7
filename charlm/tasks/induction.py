"""Induction task: continue a repeated random string (Olsson et al., 2022)."""

import math
from collections.abc import Sequence

import torch

from charlm.results.tasks import TaskScore
from charlm.tasks.base import IGNORE_INDEX, Task, TaskBatch, register_task

STRING_LENGTH = 8
NUM_LETTERS = 8  # of the string; as many other letters are noise


@register_task("induction")
class Induction(Task):
    """Read a random string, noise, and the string again; predict its continuation.

    Source: Olsson et al. (2022), "In-context learning and induction heads": random tokens repeated.

    Question: Does the first letter of an earlier string bring back the rest, past noise?

    Protocol: Eight random letters of eight kinds, T random letters of eight other kinds, the same
    eight again. At each letter of the second reading but the last, the next is predicted. Only
    these seven are trained on and count.

    Distance: T, the number of other letters between the two readings.

    Oracle: Continues the string. Its loss is 0.

    Chance: Letters are independent and uniform: ln 8 and 1/8.

    At T = 6, the input, and below it the targets:

        cabbagedkpnmlocabbaged
                      abbaged
    """

    symbol_names = "abcdefghijklmnop"

    def sequence_length(self, length: int) -> int:
        """Return the number of time steps."""
        return 2 * STRING_LENGTH + length

    def sample_batch(self, length: int, batch_size: int, generator: torch.Generator) -> TaskBatch:
        """Draw strings and noise."""
        string = torch.randint(NUM_LETTERS, (STRING_LENGTH, batch_size), generator=generator)
        noise = torch.randint(
            NUM_LETTERS, 2 * NUM_LETTERS, (length, batch_size), generator=generator
        )
        x = torch.cat((string, noise, string))
        y = torch.full_like(x, IGNORE_INDEX)
        y[-STRING_LENGTH:-1] = string[1:]
        return TaskBatch(x, y, y != IGNORE_INDEX)

    def solve(self, x: Sequence[int]) -> list[int]:
        """Return the continuation of the string during its second reading."""
        before = [IGNORE_INDEX] * (len(x) - STRING_LENGTH)
        return before + list(x[1:STRING_LENGTH]) + [IGNORE_INDEX]

    def chance_score(self, length: int) -> TaskScore:
        """Return the score of a uniform guess among letters."""
        del length
        return TaskScore(math.log(NUM_LETTERS), 1 / NUM_LETTERS)
