"""Copy memory task of Hochreiter & Schmidhuber (1997) and Arjovsky, Shah & Bengio (2016)."""

import math
from collections.abc import Sequence

import torch

from charlm.results.tasks import TaskScore
from charlm.tasks.base import Task, TaskBatch, register_task

MAX_SYMBOLS = 10
ALPHABET_SIZE = 8


@register_task("copy")
class Copy(Task):
    """Copy up to ten symbols, after a blank.

    Source: Hochreiter & Schmidhuber (1997), Arjovsky et al. (2016); laid out as in Bai, Kolter &
    Koltun (2018), whose ten symbols and T blanks are length T + 9 here.

    Question: How much can be remembered without input, and for how long?

    Protocol: n symbols of eight kinds, blanks, n + 1 delimiters. The targets are blanks until the
    first delimiter, then the n symbols in order. The loss is the mean over all characters;
    accuracy counts the n symbols alone.

    Length: Up to 10, the number n of symbols, without a blank between them and the delimiters.
    From 10 on, there are ten symbols and a growing blank. Each symbol is due length + 1 characters
    after it is read.

    Oracle: Repeats the symbols. Its loss is 0.

    Chance: Without memory, the position of blanks is known and each of the n symbols is correct
    once in eight times: the loss is n ln 8 over the number of characters, the accuracy 1/8.

    At length 13, the input, and below it the targets:

        3141582653...???????????
        ..............3141582653
    """

    symbol_names = ".12345678?"

    def sequence_length(self, length: int) -> int:
        """Return the number of time steps."""
        return length + 1 + min(length, MAX_SYMBOLS)

    def sample_batch(self, length: int, batch_size: int, generator: torch.Generator) -> TaskBatch:
        """Draw the symbols of each sequence."""
        n = min(length, MAX_SYMBOLS)
        symbols = torch.randint(1, ALPHABET_SIZE + 1, (n, batch_size), generator=generator)
        blanks = torch.zeros(length + 1, batch_size, dtype=torch.long)
        delimiters = torch.full((n + 1, batch_size), ALPHABET_SIZE + 1)
        x = torch.cat((symbols, blanks[: length - n], delimiters))
        y = torch.cat((blanks, symbols))
        answer_mask = torch.arange(len(y))[:, None].expand_as(y) >= len(blanks)
        return TaskBatch(x, y, answer_mask)

    def solve(self, x: Sequence[int]) -> list[int]:
        """Return blanks, then the symbols."""
        symbols = [symbol for symbol in x if 0 < symbol <= ALPHABET_SIZE]
        return [0] * (len(x) - len(symbols)) + symbols

    def chance_score(self, length: int) -> TaskScore:
        """Return the score of blanks and a uniform guess among symbols."""
        symbols = min(length, MAX_SYMBOLS)
        loss = symbols * math.log(ALPHABET_SIZE) / self.sequence_length(length)
        return TaskScore(loss, 1 / ALPHABET_SIZE)
