"""Counting languages a^n b^n and a^n b^n c^n of Gers & Schmidhuber (2001)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from charlm.results.tasks import TaskScore
from charlm.tasks.base import IGNORE_INDEX, Task, TaskBatch, register_task


class Counting(Task):
    """Base of tasks in which each letter is repeated as often as the first."""

    score_whole_sequence = True
    min_length = 3  # below it, there is only one sequence

    @property
    def num_letters(self) -> int:
        """Number of different letters, without the end symbol."""
        return len(self.symbol_names) - 1

    def sequence_length(self, length: int) -> int:
        """Return the number of time steps."""
        return self.num_letters * length

    def make_sequences(self, length: int, repeats: Tensor) -> tuple[Tensor, Tensor]:
        """Return x and y, (time, batch).

        Args:
            length: Largest number of repeats.
            repeats: How often each letter occurs in each sequence, (batch,).
        """
        time = torch.arange(self.sequence_length(length))[:, None]
        x, following = (
            ((time + offset) // repeats).clamp(max=self.num_letters) for offset in (0, 1)
        )
        is_determined = (time >= repeats) & (time < self.num_letters * repeats)
        return x, following.where(is_determined, IGNORE_INDEX)

    def sample_batch(self, length: int, batch_size: int, generator: torch.Generator) -> TaskBatch:
        """Draw the number of repeats of each sequence."""
        repeats = torch.randint(length // 2 + 1, length + 1, (batch_size,), generator=generator)
        x, y = self.make_sequences(length, repeats)
        return TaskBatch(x, y, y != IGNORE_INDEX)

    def solve(self, x: Sequence[int]) -> list[int]:
        """Return the next letter wherever it follows from the count of the first."""
        repeats = x.count(0)
        letters = [letter for letter in range(self.num_letters) for _ in range(repeats)]
        answers = [IGNORE_INDEX] * repeats + [*letters, self.num_letters][repeats + 1 :]
        return answers + [IGNORE_INDEX] * (len(x) - len(answers))

    def chance_score(self, length: int) -> TaskScore:
        """Return the score of a model that knows the time step alone."""
        repeats = torch.arange(length // 2 + 1, length + 1)
        _, y = self.make_sequences(length, repeats)
        counts = torch.stack([(y == letter).sum(1) for letter in range(self.input_size)], 1)
        counts = counts.double()
        totals = counts.sum(1, keepdim=True).clamp(min=1)
        nats = -torch.special.xlogy(counts, counts / totals).sum()
        return TaskScore(nats.item() / counts.sum().item(), 1 / len(repeats))


@register_task("anbn")
class AnBn(Counting):
    """Read n times a, then n times b, then the end.

    Source: Gers & Schmidhuber (2001); Weiss, Goldberg & Yahav (2018), "On the practical
    computational power of finite precision RNNs for language recognition".

    Question: Can a cell count without bound? An LSTM's state can grow; a GRU's is between -1 and 1.

    Protocol: n letters a, n letters b, and dots to the end of the batch. From the first b on, the
    next letter follows from what was read (another b, or the dot). These are trained on, and the
    whole sequence is one answer.

    Length: The largest n. It is drawn from half of it (exclusive) to all of it, so that at twice
    the length every sequence is longer than those in training.

    Oracle: Counts. Its loss is 0.

    Chance: Without memory, the time step alone says which n are still possible, and how many of
    them end now. The loss is the mean of the remaining entropy. Any two n differ at the end of the
    shorter one, so one sequence of all is correct: the accuracy is 1 over the number of possible n.

    At length 5, with n = 4, the input, and below it the targets:

        aaaabbbb..
            bbb.
    """

    symbol_names = "ab."


@register_task("anbncn")
class AnBnCn(Counting):
    """Read n times a, n times b, n times c, then the end.

    Source: Gers & Schmidhuber (2001); Weiss, Goldberg & Yahav (2018).

    Question: Can a cell count twice at once: down for b, and up again for c?

    Protocol: n letters a, n letters b, n letters c, and dots to the end of the batch. From the
    first b on, the next letter follows from what was read. These are trained on, and the whole
    sequence is one answer.

    Length: The largest n. It is drawn from half of it (exclusive) to all of it, so that at twice
    the length every sequence is longer than those in training.

    Oracle: Counts. Its loss is 0.

    Chance: As in anbn: the loss is the mean entropy given the time step, the accuracy is 1 over the
    number of possible n.

    At length 4, with n = 3, the input, and below it the targets:

        aaabbbccc...
           bbccc.
    """

    symbol_names = "abc."
