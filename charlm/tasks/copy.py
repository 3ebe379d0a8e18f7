"""Copy memory task of Hochreiter & Schmidhuber (1997) and Arjovsky, Shah & Bengio (2016)."""

import math
from collections.abc import Sequence

import torch

from charlm.results.tasks import TaskScore
from charlm.tasks.base import Task, TaskBatch, register_task

NUM_SYMBOLS = 10
ALPHABET_SIZE = 8


@register_task("copy")
class Copy(Task):
    """Copy ten symbols after a long blank.

    Source: Hochreiter & Schmidhuber (1997), Arjovsky et al. (2016); laid out as in Bai, Kolter &
    Koltun (2018).

    Question: For how long can 30 bits be remembered without input?

    Protocol: Ten symbols of eight kinds, T - 1 blanks, eleven delimiters. The targets are blanks
    until the first delimiter, then the ten symbols in order. The loss is the mean over all T + 20
    characters; accuracy counts the ten symbols alone.

    Distance: T. Each symbol is read T + 10 characters before it is due.

    Oracle: Repeats the first ten characters. Its loss is 0.

    Chance: Without memory, the position of blanks is known and each of the ten symbols is correct
    once in eight times: the loss is 10 ln 8 / (T + 20), the accuracy 1/8.

    At T = 4, the input, and below it the targets:

        3141582653...???????????
        ..............3141582653
    """

    symbol_names = ".12345678?"

    def sequence_length(self, length: int) -> int:
        """Return the number of time steps."""
        return length + 2 * NUM_SYMBOLS

    def sample_batch(self, length: int, batch_size: int, generator: torch.Generator) -> TaskBatch:
        """Draw ten symbols for each sequence."""
        symbols = torch.randint(
            1, ALPHABET_SIZE + 1, (NUM_SYMBOLS, batch_size), generator=generator
        )
        blanks = torch.zeros(length + NUM_SYMBOLS, batch_size, dtype=torch.long)
        delimiters = torch.full((NUM_SYMBOLS + 1, batch_size), ALPHABET_SIZE + 1)
        x = torch.cat((symbols, blanks[: length - 1], delimiters))
        y = torch.cat((blanks, symbols))
        answer_mask = torch.arange(len(y))[:, None].expand_as(y) >= len(blanks)
        return TaskBatch(x, y, answer_mask)

    def solve(self, x: Sequence[int]) -> list[int]:
        """Return blanks, then the first ten symbols."""
        return [0] * (len(x) - NUM_SYMBOLS) + list(x[:NUM_SYMBOLS])

    def chance_score(self, length: int) -> TaskScore:
        """Return the score of blanks and a uniform guess among symbols."""
        loss = NUM_SYMBOLS * math.log(ALPHABET_SIZE) / self.sequence_length(length)
        return TaskScore(loss, 1 / ALPHABET_SIZE)
