"""Recall capacity: multi-query associative recall with a growing number of pairs."""

import math
from collections.abc import Sequence

import torch

from charlm.results.tasks import TaskScore
from charlm.tasks.base import IGNORE_INDEX, Task, TaskBatch, register_task

NUM_KEYS, NUM_VALUES = 64, 16  # that exist; keys come first among the tokens


@register_task("recall-pairs")
class RecallPairs(Task):
    """Read many pairs of a key and a value, then recall the value of each key.

    Source: Arora et al. (2023), "Zoology", multi-query associative recall.

    Question: How many pairs does the state hold?

    Protocol: N pairs of a key and a value (different keys of 64, each with any of 16 values), then
    the N keys in a new order. At each of these the key's value is predicted. Only these are
    trained on and count.

    Length: N, the number of pairs, at most 64.

    Oracle: Looks the key up. Its loss is 0.

    Chance: Values are independent and uniform: ln 16 and 1/16 for a model that has read nothing.
    Naming any of the N values that were read, without a look-up, is right in 1/N + (1 - 1/N)/16.

    At N = 3, the input, and below it the targets; keys are letters and signs, values in Greek:

        hβcα+βc+h
              αββ
    """

    symbol_names = (
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/αβγδεζηθικλμνξοπ"
    )
    max_length = NUM_KEYS

    def sequence_length(self, length: int) -> int:
        """Return the number of time steps."""
        return 3 * length

    def sample_batch(self, length: int, batch_size: int, generator: torch.Generator) -> TaskBatch:
        """Draw pairs and the order of the queries."""
        keys = torch.rand(NUM_KEYS, batch_size, generator=generator).argsort(0)[:length]
        values = NUM_KEYS + torch.randint(NUM_VALUES, (length, batch_size), generator=generator)
        order = torch.rand(length, batch_size, generator=generator).argsort(0)
        pairs = torch.stack((keys, values), 1).flatten(0, 1)
        x = torch.cat((pairs, keys.gather(0, order)))
        y = torch.full_like(x, IGNORE_INDEX)
        y[-length:] = values.gather(0, order)
        return TaskBatch(x, y, y != IGNORE_INDEX)

    def solve(self, x: Sequence[int]) -> list[int]:
        """Return the value of each key at the queries."""
        num_pairs = len(x) // 3
        value = dict(zip(x[: 2 * num_pairs : 2], x[1 : 2 * num_pairs : 2], strict=True))
        return [IGNORE_INDEX] * (2 * num_pairs) + [value[key] for key in x[2 * num_pairs :]]

    def chance_score(self, length: int) -> TaskScore:
        """Return the score of a uniform guess among values."""
        del length
        return TaskScore(math.log(NUM_VALUES), 1 / NUM_VALUES)

    def unbound_accuracy(self, length: int) -> float:
        """Return the accuracy of naming any of the values that were read."""
        return 1 / length + (1 - 1 / length) / NUM_VALUES
