"""Selective copying, of Jing et al. (2019) and Gu & Dao (2023)."""

import math
from collections.abc import Sequence

import torch

from charlm.results.tasks import TaskScore
from charlm.tasks.base import IGNORE_INDEX, Task, TaskBatch, register_task

RECALLED = 10
KINDS = 8


@register_task("selective")
class Selective(Task):
    """Ten symbols scattered among blanks are read, and must be written in their order.

    Source: Jing et al. (2019), as the denoising task; Gu & Dao (2023).

    Question: Can a cell choose by content what it holds? The same clock for every sequence, which
    is enough for copy memory, is not enough here.

    Protocol: T blanks with ten symbols of eight kinds at random places among them, then ten marks.
    At each mark the next of the symbols is to be written. Only these ten are trained on and count.

    Distance: T: how many blanks there are.

    Oracle: Leaves the blanks out. Its loss is 0.

    Chance: Symbols are independent and even: ln 8 and 1/8.

    At T = 12, what is read, and below it what is to be written:

        3.14..1..5.82..6.5..3.??????????
                              3141582653
    """

    symbol_names = ".12345678?"

    def sequence_length(self, distance: int) -> int:
        return distance + 2 * RECALLED

    def sample_batch(self, distance: int, streams: int, generator: torch.Generator) -> TaskBatch:
        said = torch.randint(1, KINDS + 1, (RECALLED, streams), generator=generator)
        places = torch.rand(distance + RECALLED, streams, generator=generator).argsort(0)
        blanks = torch.zeros(distance + RECALLED, streams, dtype=torch.long)
        told = blanks.scatter(0, places[:RECALLED].sort(0).values, said)
        x = torch.cat((told, torch.full((RECALLED, streams), KINDS + 1)))
        y = torch.cat((blanks + IGNORE_INDEX, said))
        return TaskBatch(x, y, y != IGNORE_INDEX)

    def solve(self, x: Sequence[int]) -> list[int]:
        said = [symbol for symbol in x if 1 <= symbol <= KINDS]
        return [IGNORE_INDEX] * (len(x) - RECALLED) + said

    def chance_score(self, distance: int) -> TaskScore:
        del distance
        return TaskScore(math.log(KINDS), 1 / KINDS)
