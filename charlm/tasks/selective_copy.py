"""Selective copying task of Jing et al. (2019) and Gu & Dao (2023)."""

import math
from collections.abc import Sequence

import torch

from charlm.results.tasks import TaskScore
from charlm.tasks.base import IGNORE_INDEX, Task, TaskBatch, register_task

NUM_SYMBOLS = 10
ALPHABET_SIZE = 8


@register_task("selective-copy")
class SelectiveCopy(Task):
    """Copy ten symbols that are scattered among blanks, in their order.

    Source: Jing et al. (2019), as the denoising task; Gu & Dao (2023).

    Question: Can a cell choose by content what it stores? A schedule that is the same for every
    sequence is enough for copy, but not here.

    Protocol: T blanks with ten symbols of eight kinds at random positions among them, then ten
    marks. At each mark the next of the symbols is predicted. Only these ten are trained on and
    count.

    Length: T, the number of blanks.

    Oracle: Leaves the blanks out. Its loss is 0.

    Chance: Symbols are independent and uniform: ln 8 and 1/8.

    At T = 12, the input, and below it the targets:

        3.14..1..5.82..6.5..3.??????????
                              3141582653
    """

    symbol_names = ".12345678?"

    def sequence_length(self, length: int) -> int:
        """Return the number of time steps."""
        return length + 2 * NUM_SYMBOLS

    def sample_batch(self, length: int, batch_size: int, generator: torch.Generator) -> TaskBatch:
        """Draw symbols and their positions."""
        symbols = torch.randint(
            1, ALPHABET_SIZE + 1, (NUM_SYMBOLS, batch_size), generator=generator
        )
        positions = torch.rand(length + NUM_SYMBOLS, batch_size, generator=generator).argsort(0)
        blanks = torch.zeros(length + NUM_SYMBOLS, batch_size, dtype=torch.long)
        scattered = blanks.scatter(0, positions[:NUM_SYMBOLS].sort(0).values, symbols)
        x = torch.cat((scattered, torch.full((NUM_SYMBOLS, batch_size), ALPHABET_SIZE + 1)))
        y = torch.cat((blanks + IGNORE_INDEX, symbols))
        return TaskBatch(x, y, y != IGNORE_INDEX)

    def solve(self, x: Sequence[int]) -> list[int]:
        """Return the symbols in order at the marks."""
        symbols = [token for token in x if 1 <= token <= ALPHABET_SIZE]
        return [IGNORE_INDEX] * (len(x) - NUM_SYMBOLS) + symbols

    def chance_score(self, length: int) -> TaskScore:
        """Return the score of a uniform guess among symbols."""
        del length
        return TaskScore(math.log(ALPHABET_SIZE), 1 / ALPHABET_SIZE)
