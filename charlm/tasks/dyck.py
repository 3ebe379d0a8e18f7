"""Nested brackets of several kinds, of Suzgun et al. (2019) and Hewitt et al. (2020)."""

import math
from collections.abc import Iterator, Sequence

import torch

from charlm.results.tasks import TaskScore
from charlm.tasks.base import IGNORE_INDEX, Task, TaskBatch, register_task

KINDS = 4
MAX_DEPTH = 4


@register_task("dyck")
class Dyck(Task):
    """Which bracket does this one close?

    Source: Suzgun et al. (2019); Hewitt et al. (2020), "RNNs can generate bounded hierarchical
    languages with optimal memory", with bounded depth.

    Question: How long is an open bracket held, while others open and close inside it?

    Protocol: Brackets of four kinds, balanced, at most four deep; a close does not say of which
    kind it is, and that is to be predicted there. All closes are trained on; the answer that counts
    is one a sequence, whose distance from its opening bracket is drawn evenly from 1, 3, 5 … T, as
    in most of such strings most brackets close at once. Around and inside it, opening and closing
    are equally likely wherever both are possible.

    Distance: T: the farthest that a bracket lies from the one that it closes.

    Oracle: Keeps a stack. Its loss is 0.

    Chance: Kinds are independent and even: ln 4 and 1/4.

    At T = 9, what is read, and below it what is to be predicted; the last answer counts:

        <[?({??(??
          [  {( (<
    """

    symbol_names = "([{<?"
    has_auxiliary_targets = True

    def sequence_length(self, distance: int) -> int:
        return distance + distance % 2

    def sample_batch(self, distance: int, streams: int, generator: torch.Generator) -> TaskBatch:
        length = self.sequence_length(distance)
        spans = 1 + 2 * torch.randint(length // 2, (streams,), generator=generator)
        places = torch.rand(streams, generator=generator)
        kinds = torch.randint(KINDS, (streams, length), generator=generator)
        coins = torch.randint(2, (streams, length), generator=generator)
        x = kinds.tolist()
        asked = torch.zeros(length, streams, dtype=torch.bool)
        for stream, (span, place) in enumerate(zip(spans.tolist(), places.tolist(), strict=True)):
            before = 2 * int(place * ((length - span - 1) // 2 + 1))
            coin = iter(coins[stream].tolist())
            opens = [
                *random_balanced(before, MAX_DEPTH, coin),
                True,
                *random_balanced(span - 1, MAX_DEPTH - 1, coin),
                False,
            ]
            opens += random_balanced(length - len(opens), MAX_DEPTH, coin)
            for time, opening in enumerate(opens):
                x[stream][time] = x[stream][time] if opening else KINDS
            asked[before + span, stream] = True
        y = [self.solve(sequence) for sequence in x]
        return TaskBatch(torch.tensor(x).T, torch.tensor(y).T, asked)

    def solve(self, x: Sequence[int]) -> list[int]:
        answers: list[int] = []
        stack: list[int] = []
        for symbol in x:
            if symbol == KINDS:
                answers.append(stack.pop())
            else:
                answers.append(IGNORE_INDEX)
                stack.append(symbol)
        return answers

    def chance_score(self, distance: int) -> TaskScore:
        del distance
        return TaskScore(math.log(KINDS), 1 / KINDS)


def random_balanced(length: int, deepest: int, coin: Iterator[int]) -> list[bool]:
    """Whether each bracket of a balanced string opens."""
    opens: list[bool] = []
    depth = 0
    for left in range(length, 0, -1):
        can_open = depth < min(deepest, left - 1)
        opens.append(can_open and (depth == 0 or bool(next(coin))))
        depth += 1 if opens[-1] else -1
    return opens
