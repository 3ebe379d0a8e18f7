"""Bounded Dyck language: nested brackets of several kinds (Hewitt et al., 2020)."""

import math
from collections.abc import Iterator, Sequence

import torch

from charlm.results.tasks import TaskScore
from charlm.tasks.base import IGNORE_INDEX, Task, TaskBatch, register_task

NUM_KINDS = 4  # of brackets; also the token of the closing bracket
MAX_DEPTH = 4


@register_task("dyck")
class Dyck(Task):
    """Predict the kind of bracket that is closed.

    Source: Suzgun et al. (2019); Hewitt et al. (2020), "RNNs can generate bounded hierarchical
    languages with optimal memory", with bounded depth.

    Question: How long is an open bracket remembered while others open and close inside it?

    Protocol: Balanced brackets of four kinds, at most four deep. The closing bracket does not show
    its kind, which is predicted there. All closing brackets are trained on. One answer per sequence
    counts, and its distance from the opening bracket is uniform over 1, 3, 5 … T: in most random
    strings nearly all brackets close at once. Around and inside it, opening and closing are equally
    likely wherever both are possible.

    Length: T, the largest distance between a bracket and the one that it closes.

    Oracle: Keeps a stack. Its loss is 0.

    Chance: Kinds are independent and uniform: ln 4 and 1/4.

    At T = 9, the input, and below it the targets; the last answer counts:

        <[?({??(??
          [  {( (<
    """

    symbol_names = "([{<?"
    has_auxiliary_targets = True

    def sequence_length(self, length: int) -> int:
        """Return the number of time steps, which is even."""
        return length + length % 2

    def sample_batch(self, length: int, batch_size: int, generator: torch.Generator) -> TaskBatch:
        """Draw balanced strings around a pair of brackets at a uniform distance."""
        steps = self.sequence_length(length)
        spans = 1 + 2 * torch.randint(steps // 2, (batch_size,), generator=generator)
        positions = torch.rand(batch_size, generator=generator)
        kinds = torch.randint(NUM_KINDS, (batch_size, steps), generator=generator)
        coins = torch.randint(2, (batch_size, steps), generator=generator)
        x = kinds.tolist()
        answer_mask = torch.zeros(steps, batch_size, dtype=torch.bool)
        for stream, (span, position) in enumerate(
            zip(spans.tolist(), positions.tolist(), strict=True)
        ):
            before = 2 * int(position * ((steps - span - 1) // 2 + 1))
            coin = iter(coins[stream].tolist())
            opens = [
                *random_balanced(before, MAX_DEPTH, coin),
                True,
                *random_balanced(span - 1, MAX_DEPTH - 1, coin),
                False,
            ]
            opens += random_balanced(steps - len(opens), MAX_DEPTH, coin)
            for time, is_open in enumerate(opens):
                x[stream][time] = x[stream][time] if is_open else NUM_KINDS
            answer_mask[before + span, stream] = True
        y = [self.solve(sequence) for sequence in x]
        return TaskBatch(torch.tensor(x).T, torch.tensor(y).T, answer_mask)

    def solve(self, x: Sequence[int]) -> list[int]:
        """Return the kind of the matching bracket at each closing bracket."""
        answers: list[int] = []
        stack: list[int] = []
        for token in x:
            if token == NUM_KINDS:
                answers.append(stack.pop())
            else:
                answers.append(IGNORE_INDEX)
                stack.append(token)
        return answers

    def chance_score(self, length: int) -> TaskScore:
        """Return the score of a uniform guess among kinds."""
        del length
        return TaskScore(math.log(NUM_KINDS), 1 / NUM_KINDS)


def random_balanced(length: int, max_depth: int, coin: Iterator[int]) -> list[bool]:
    """Return whether each bracket of a random balanced string opens."""
    opens: list[bool] = []
    depth = 0
    for remaining in range(length, 0, -1):
        can_open = depth < min(max_depth, remaining - 1)
        opens.append(can_open and (depth == 0 or bool(next(coin))))
        depth += 1 if opens[-1] else -1
    return opens
