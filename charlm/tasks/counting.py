"""Counting: as many b as there were a, of Gers & Schmidhuber (2001) and Weiss et al. (2018)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from charlm.results.tasks import TaskScore
from charlm.tasks.base import IGNORE_INDEX, Task, TaskBatch, register_task


class Counting(Task):
    """As many of each letter as there were of the first."""

    score_whole_sequence = True
    min_distance = 3  # below, there is but one sequence

    @property
    def num_letters(self) -> int:
        """Different letters, not counting the end."""
        return len(self.symbol_names) - 1

    def sequence_length(self, distance: int) -> int:
        return self.num_letters * distance

    def make_sequences(self, distance: int, n: Tensor) -> tuple[Tensor, Tensor]:
        """How often each letter stands in each sequence (streams,) -> x and y."""
        time = torch.arange(self.sequence_length(distance))[:, None]
        x, following = (((time + late) // n).clamp(max=self.num_letters) for late in (0, 1))
        determined = (time >= n) & (time < self.num_letters * n)
        return x, following.where(determined, IGNORE_INDEX)

    def sample_batch(self, distance: int, streams: int, generator: torch.Generator) -> TaskBatch:
        n = torch.randint(distance // 2 + 1, distance + 1, (streams,), generator=generator)
        x, y = self.make_sequences(distance, n)
        return TaskBatch(x, y, y != IGNORE_INDEX)

    def solve(self, x: Sequence[int]) -> list[int]:
        n = x.count(0)
        written = [part for part in range(self.num_letters) for _ in range(n)] + [self.num_letters]
        answers = [IGNORE_INDEX] * n + written[n + 1 :]
        return answers + [IGNORE_INDEX] * (len(x) - len(answers))

    def chance_score(self, distance: int) -> TaskScore:
        n = torch.arange(distance // 2 + 1, distance + 1)
        _, y = self.make_sequences(distance, n)
        count = torch.stack([(y == letter).sum(1) for letter in range(self.symbols)], 1).double()
        cost = -torch.special.xlogy(count, count / count.sum(1, keepdim=True).clamp(min=1)).sum()
        return TaskScore(cost.item() / count.sum().item(), 1 / len(n))


@register_task("anbn")
class AnBn(Counting):
    """n times a, then n times b, then the end.

    Source: Gers & Schmidhuber (2001); Weiss, Goldberg & Yahav (2018), "On the practical
    computational power of finite precision RNNs for language recognition".

    Question: Can a cell count, and without bound? An LSTM's state can grow; a GRU's is between -1
    and 1.

    Protocol: n letters a, n letters b, and dots to the end of the batch. From the first b on, the
    next letter follows from what was read (another b, or the dot); these are trained on, and the
    whole of a sequence is one answer.

    Distance: The greatest n. It is drawn from half of it (exclusive) up to it, so that at twice the
    distance no sequence is as short as in training.

    Oracle: Counts. Its loss is 0.

    Chance: One who has read nothing knows at each time which of the possible n would be past their
    last a, and among these how many would end now. The loss is the mean of what that leaves open.
    Any two n differ at the end of the shorter one, so of all of them one is right: the accuracy is
    1 over how many there are.

    At distance 5, with n = 4, what is read, and below it what is to be predicted:

        aaaabbbb..
            bbb.
    """

    symbol_names = "ab."


@register_task("anbncn")
class AnBnCn(Counting):
    """n times a, n times b, n times c, then the end.

    Source: Gers & Schmidhuber (2001); Weiss, Goldberg & Yahav (2018).

    Question: Can a cell count twice at once: down for b, and up again for c?

    Protocol: n letters a, n letters b, n letters c, and dots to the end of the batch. From the
    first b on, the next letter follows from what was read; these are trained on, and the whole of
    a sequence is one answer.

    Distance: The greatest n. It is drawn from half of it (exclusive) up to it, so that at twice the
    distance no sequence is as short as in training.

    Oracle: Counts. Its loss is 0.

    Chance: As for anbn: the loss is the mean of what the time leaves open, the accuracy 1 over how
    many n there are.

    At distance 4, with n = 3, what is read, and below it what is to be predicted:

        aaabbbccc...
           bbccc.
    """

    symbol_names = "abc."
