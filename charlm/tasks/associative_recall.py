"""Multi-query associative recall of Arora et al. (2023), in characters."""

import math
from collections.abc import Sequence

import torch

from charlm.results.tasks import TaskScore
from charlm.tasks.base import IGNORE_INDEX, Task, TaskBatch, register_task

NUM_PAIRS = 4
NUM_KEYS = NUM_VALUES = 8  # that exist


@register_task("associative-recall")
class AssociativeRecall(Task):
    """Read pairs of a key and a value, then recall the value of each key.

    Source: Arora et al. (2023), "Zoology", multi-query associative recall; Ba et al. (2016) with
    one query.

    Question: Can the current input retrieve what was stored with it?

    Protocol: Four pairs of a key and a value (four different keys of eight, each with any of eight
    values), T blanks, then the four keys in a new order. At each of these the key's value is
    predicted. Only these four are trained on and count.

    Length: T, the number of blanks between the pairs and the queries.

    Oracle: Looks the key up. Its loss is 0.

    Chance: Values are independent and uniform: ln 8 and 1/8 for a model that has read nothing.
    Naming any of the four values that were read, without a look-up, is right in 0.344.

    At T = 5, the input, and below it the targets:

        c3a1h4b1.....bhca
                     1431
    """

    symbol_names = ".abcdefgh12345678"

    def sequence_length(self, length: int) -> int:
        """Return the number of time steps."""
        return length + 3 * NUM_PAIRS

    def sample_batch(self, length: int, batch_size: int, generator: torch.Generator) -> TaskBatch:
        """Draw pairs and the order of the queries."""
        keys = 1 + torch.rand(NUM_KEYS, batch_size, generator=generator).argsort(0)[:NUM_PAIRS]
        values = torch.randint(
            1 + NUM_KEYS, 1 + NUM_KEYS + NUM_VALUES, (NUM_PAIRS, batch_size), generator=generator
        )
        order = torch.rand(NUM_PAIRS, batch_size, generator=generator).argsort(0)
        pairs = torch.stack((keys, values), 1).flatten(0, 1)
        blanks = torch.zeros(length, batch_size, dtype=torch.long)
        x = torch.cat((pairs, blanks, keys.gather(0, order)))
        y = torch.full_like(x, IGNORE_INDEX)
        y[-NUM_PAIRS:] = values.gather(0, order)
        return TaskBatch(x, y, y != IGNORE_INDEX)

    def solve(self, x: Sequence[int]) -> list[int]:
        """Return the value of each key at the queries."""
        pairs = x[: 2 * NUM_PAIRS]
        value = dict(zip(pairs[::2], pairs[1::2], strict=True))
        return [IGNORE_INDEX] * (len(x) - NUM_PAIRS) + [value[key] for key in x[-NUM_PAIRS:]]

    def chance_score(self, length: int) -> TaskScore:
        """Return the score of a uniform guess among values."""
        del length
        return TaskScore(math.log(NUM_VALUES), 1 / NUM_VALUES)

    def unbound_accuracy(self, length: int) -> float:
        """Return the accuracy of naming any of the values that were read."""
        del length
        return 1 / NUM_PAIRS + (1 - 1 / NUM_PAIRS) / NUM_VALUES
