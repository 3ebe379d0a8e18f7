"""Associative recall of several pairs, of Arora et al. (2023), in characters."""

import math
from collections.abc import Sequence

import torch

from charlm.results.tasks import TaskScore
from charlm.tasks.base import IGNORE_INDEX, Task, TaskBatch, register_task

PAIRS = 4
KINDS = 8  # of keys, and of values


@register_task("recall")
class Recall(Task):
    """Keys with their values are read; later each key is asked for its value.

    Source: Arora et al. (2023), "Zoology", multi-query associative recall; Ba et al. (2016) with
    one query.

    Question: Can what was read be looked up by what is read now?

    Protocol: Four pairs of a key and a value (four different keys of eight, each with any of eight
    values), T blanks, then the four keys in a new order. At each of these the key's value is to be
    predicted; only these four are trained on and count.

    Distance: T: how many blanks lie between the pairs and the questions.

    Oracle: Looks the key up. Its loss is 0.

    Chance: Values are independent and even: ln 8 and 1/8.

    At T = 5, what is read, and below it what is to be predicted:

        c3a1h4b1.....bhca
                     1431
    """

    symbol_names = ".abcdefgh12345678"

    def sequence_length(self, distance: int) -> int:
        return distance + 3 * PAIRS

    def sample_batch(self, distance: int, streams: int, generator: torch.Generator) -> TaskBatch:
        keys = 1 + torch.rand(KINDS, streams, generator=generator).argsort(0)[:PAIRS]
        values = torch.randint(1 + KINDS, 1 + 2 * KINDS, (PAIRS, streams), generator=generator)
        order = torch.rand(PAIRS, streams, generator=generator).argsort(0)
        pairs = torch.stack((keys, values), 1).flatten(0, 1)
        blanks = torch.zeros(distance, streams, dtype=torch.long)
        x = torch.cat((pairs, blanks, keys.gather(0, order)))
        y = torch.full_like(x, IGNORE_INDEX)
        y[-PAIRS:] = values.gather(0, order)
        return TaskBatch(x, y, y != IGNORE_INDEX)

    def solve(self, x: Sequence[int]) -> list[int]:
        pairs = x[: 2 * PAIRS]
        value = dict(zip(pairs[::2], pairs[1::2], strict=True))
        return [IGNORE_INDEX] * (len(x) - PAIRS) + [value[key] for key in x[-PAIRS:]]

    def chance_score(self, distance: int) -> TaskScore:
        del distance
        return TaskScore(math.log(KINDS), 1 / KINDS)
