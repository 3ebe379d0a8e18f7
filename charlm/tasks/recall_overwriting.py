"""Associative recall with keys that are written several times; stale answers are counted apart."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from charlm.results.tasks import TaskMeasure, TaskScore
from charlm.tasks.base import (
    IGNORE_INDEX,
    AnsweredBatch,
    Task,
    TaskAnswers,
    TaskBatch,
    register_task,
)

NUM_KEYS, NUM_VALUES = 64, 16  # that exist; keys come first among the tokens
WRITES = 3  # of each key


@register_task("recall-overwriting")
class RecallOverwriting(Task):
    """Read pairs of a key and a value that replace each other, then recall the last values.

    Source: Arora et al. (2023), "Zoology", whose associative recall has one value of each key; that
    writing anew replaces what was stored is the aim of the delta rule (Schlag et al., 2021).

    Question: Does a new value of a key replace the old one?

    Protocol: N keys of 64, each written three times with different values of 16; all 3 N writes
    are in random order. Then the N keys in a new order. At each of these the value that was written
    last is predicted. Only these are trained on and count. An older value of the same key is a
    stale answer, counted apart from other errors.

    Length: N, the number of keys, at most 64.

    Oracle: Looks the key up in a table that each write replaces. Its loss is 0.

    Chance: Values are uniform: ln 16 and 1/16 for a model that has read nothing; 2/16 of its
    answers are stale. Naming any of the 3 N values that were read, without a look-up, is right in
    1/(3 N) + (1 - 1/N)/16; naming any value of the right key, without their order, in 1/3.

    At N = 2, the input, and below it the targets; keys are letters and signs, values in Greek:

        hβ+ιhα+βhγ+δ+h
                    δγ
    """

    symbol_names = (
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/αβγδεζηθικλμνξοπ"
    )
    max_length = NUM_KEYS
    measures = (
        TaskMeasure(
            name="stale",
            label="older values",
            unit="share",
            description="answers that are an older value of the same key; by chance 12.5 %",
        ),
        TaskMeasure(
            name="other_errors",
            label="other errors",
            unit="share",
            description="wrong answers that are no older value of the key; by chance 81.2 %",
        ),
    )

    def sequence_length(self, length: int) -> int:
        """Return the number of time steps."""
        return (2 * WRITES + 1) * length

    def sample_batch(self, length: int, batch_size: int, generator: torch.Generator) -> TaskBatch:
        """Draw keys, their values, and the order of writes and queries."""

        def permute(count: int) -> Tensor:
            return torch.rand(count, batch_size, generator=generator).argsort(0)

        keys = permute(NUM_KEYS)[:length]
        choices = torch.rand(length, NUM_VALUES, batch_size, generator=generator).argsort(1)
        values = (NUM_KEYS + choices[:, :WRITES]).flatten(0, 1)  # those of a key are neighbors
        writes = permute(WRITES * length)
        pairs = torch.stack((keys.gather(0, writes // WRITES), values.gather(0, writes)), 1)
        times = writes.argsort(0).unflatten(0, (length, WRITES))
        last = times.argmax(1, keepdim=True)
        current = values.unflatten(0, (length, WRITES)).gather(1, last).squeeze(1)
        order = permute(length)
        x = torch.cat((pairs.flatten(0, 1), keys.gather(0, order)))
        y = torch.full_like(x, IGNORE_INDEX)
        y[-length:] = current.gather(0, order)
        return TaskBatch(x, y, y != IGNORE_INDEX)

    def solve(self, x: Sequence[int]) -> list[int]:
        """Return the last value of each key at the queries."""
        num_keys = len(x) // (2 * WRITES + 1)
        pairs = x[:-num_keys]
        value = dict(zip(pairs[::2], pairs[1::2], strict=True))  # later writes replace earlier ones
        return [IGNORE_INDEX] * len(pairs) + [value[key] for key in x[-num_keys:]]

    def chance_score(self, length: int) -> TaskScore:
        """Return the score of a uniform guess among values."""
        del length
        return TaskScore(math.log(NUM_VALUES), 1 / NUM_VALUES)

    def unbound_accuracy(self, length: int) -> float:
        """Return the accuracy of naming any of the values that were read."""
        return 1 / (WRITES * length) + (1 - 1 / length) / NUM_VALUES

    def measure(
        self, length: int, answers: Mapping[str, TaskAnswers], oracle: TaskScore
    ) -> dict[str, float]:
        """Return the shares of stale answers and of other errors."""
        del oracle
        batches = answers["1"].batches
        stale = sum(count_stale(batch, length) for batch in batches)
        total = length * sum(batch.x.shape[1] for batch in batches)
        errors = 1 - answers["1"].score.accuracy
        return {"stale": stale / total, "other_errors": max(0.0, errors - stale / total)}


def count_stale(batch: AnsweredBatch, length: int) -> int:
    """Return how many answers are a value that the key had before.

    Args:
        batch: Sequences with answers.
        length: Number of keys.
    """
    written = batch.x[:-length]
    keys, values, queries = written[::2], written[1::2], batch.x[-length:]
    guesses, current = batch.guesses[-length:], batch.y[-length:]
    was_value = ((keys[:, None] == queries) & (values[:, None] == guesses)).any(0)
    return int((was_value & (guesses != current)).sum())
