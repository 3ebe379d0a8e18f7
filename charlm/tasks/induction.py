"""Induction task: continue a string from any of its letters (Olsson et al., 2022)."""

import math
from collections.abc import Sequence

import torch

from charlm.results.tasks import TaskScore
from charlm.tasks.base import IGNORE_INDEX, Task, TaskBatch, register_task

STRING_LENGTH = 8
NUM_LETTERS = 16  # that a string is drawn from
NUM_NOISE_LETTERS = 8  # other letters
CONTINUATION = 4  # letters of the second reading


@register_task("induction")
class Induction(Task):
    """Read a random string, noise, and part of the string again; predict its continuation.

    Source: Olsson et al. (2022), "In-context learning and induction heads": random tokens repeated.

    Question: Does a letter of an earlier string bring back the next one, past noise?

    Protocol: Eight different letters of sixteen, noise of eight other letters, then four letters of
    the string in order, from a random one of its first four. At each of these the next letter of
    the string is predicted. Only these four are trained on and count. Each sequence has its own
    gap, and its own place to begin, so that no fixed delay leads to the answer.

    Length: T, the largest number of other letters between the two readings; of each sequence it
    is half of T to T. The rest of the noise stands before the string.

    Oracle: Looks the letter up in the string. Its loss is 0.

    Chance: Letters are uniform: ln 16 and 1/16 for a model that has read nothing. Naming the letter
    at a fixed place of the string, without a look-up, is right in 0.25.

    At T = 6, the input, and below it the targets:

        HBfgalkpcdAECAalkp
                      lkpc
    """

    symbol_names = "abcdefghijklmnopABCDEFGH"

    def sequence_length(self, length: int) -> int:
        """Return the number of time steps."""
        return STRING_LENGTH + length + CONTINUATION

    def sample_batch(self, length: int, batch_size: int, generator: torch.Generator) -> TaskBatch:
        """Draw strings, gaps, places to begin, and noise."""
        letters = torch.rand(NUM_LETTERS, batch_size, generator=generator).argsort(0)
        string = letters[:STRING_LENGTH]
        x = torch.randint(
            NUM_LETTERS,
            NUM_LETTERS + NUM_NOISE_LETTERS,
            (self.sequence_length(length), batch_size),
            generator=generator,
        )
        gap = torch.randint((length + 1) // 2, length + 1, (batch_size,), generator=generator)
        places = length - gap + torch.arange(STRING_LENGTH)[:, None]
        x.scatter_(0, places, string)
        first = torch.randint(STRING_LENGTH - CONTINUATION, (batch_size,), generator=generator)
        again = first + torch.arange(CONTINUATION)[:, None]
        x[-CONTINUATION:] = string.gather(0, again)
        y = torch.full_like(x, IGNORE_INDEX)
        y[-CONTINUATION:] = string.gather(0, again + 1)
        return TaskBatch(x, y, y != IGNORE_INDEX)

    def solve(self, x: Sequence[int]) -> list[int]:
        """Return what followed each letter of the second reading in the first."""
        string = [letter for letter in x[:-CONTINUATION] if letter < NUM_LETTERS]
        following = dict(zip(string, string[1:], strict=False))
        before = [IGNORE_INDEX] * (len(x) - CONTINUATION)
        return before + [following[letter] for letter in x[-CONTINUATION:]]

    def chance_score(self, length: int) -> TaskScore:
        """Return the score of a uniform guess among letters."""
        del length
        return TaskScore(math.log(NUM_LETTERS), 1 / NUM_LETTERS)

    def unbound_accuracy(self, length: int) -> float:
        """Return the accuracy of naming the letter at a fixed place of the string."""
        del length
        return 1 / (STRING_LENGTH - CONTINUATION)
