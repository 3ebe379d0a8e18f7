"""Flip-flop language of Liu et al. (2023): a bit that is written, ignored and read."""

import math
from collections.abc import Mapping, Sequence

import torch

from charlm.results.tasks import TaskMeasure, TaskScore
from charlm.tasks.base import IGNORE_INDEX, Task, TaskAnswers, TaskBatch, register_task

ZERO, ONE, WRITE, READ, IGNORE = range(5)  # tokens
TRAINED_IGNORE = 0.8  # share of the instructions that are ignored
VARIANTS = {"sparse": 0.98, "dense": 0.1}


@register_task("flip-flop")
class FlipFlop(Task):
    """Recall the bit that was written last, whatever else was read since.

    Source: Liu et al. (2023), "Exposing attention glitches with flip-flop language modeling".

    Question: Is one bit held without a single error, past bits that do not matter?

    Protocol: T instructions, each followed by a bit: w writes it, i has a random one to ignore, r
    reads the one that was written last. The first writes and the last reads; each of the others is
    i with probability 0.8, otherwise w or r. At each r the bit is predicted. Only these are trained
    on and count. A model is also tested on sparse sequences (0.98 are i) and dense ones (0.1).

    Length: T, the number of instructions. In sparse sequences the last bit that was written or
    read is about 50 instructions back, or as far as T allows.

    Oracle: Holds the bit. Its loss is 0.

    Chance: Bits are uniform and written independently: ln 2 and 1/2.

    At T = 6, the input, and below it the targets:

        w1i0r1w0i1r0
            1     0
    """

    symbol_names = "01wri"
    min_length = 2
    measures = (
        TaskMeasure(
            name="sparse",
            label="correct, 98 % ignored",
            unit="share",
            description="correct answers where 98 % of the instructions are ignored, untrained; by "
            "chance 50 %",
        ),
        TaskMeasure(
            name="dense",
            label="correct, 10 % ignored",
            unit="share",
            description="correct answers where 10 % of the instructions are ignored, untrained; by "
            "chance 50 %",
        ),
    )

    def __init__(self, ignored: float = TRAINED_IGNORE, name: str = "") -> None:
        self.ignored, self.name = ignored, name

    def sequence_length(self, length: int) -> int:
        """Return the number of time steps."""
        return 2 * length

    def sample_batch(self, length: int, batch_size: int, generator: torch.Generator) -> TaskBatch:
        """Draw instructions and bits."""
        chosen = torch.rand(length, batch_size, generator=generator)
        instructions = torch.full_like(chosen, IGNORE, dtype=torch.long)
        instructions[chosen >= self.ignored] = WRITE
        instructions[chosen >= (1 + self.ignored) / 2] = READ
        instructions[0], instructions[-1] = WRITE, READ
        bits = torch.randint(2, (length, batch_size), generator=generator)
        times = torch.arange(length)[:, None]
        written = times.where(instructions == WRITE, 0).cummax(0).values
        is_read = instructions == READ
        bits = bits.gather(0, written).where(is_read, bits)
        x = torch.stack((instructions, bits), 1).flatten(0, 1)
        y = torch.full_like(x, IGNORE_INDEX)
        y[::2] = bits.where(is_read, IGNORE_INDEX)
        return TaskBatch(x, y, y != IGNORE_INDEX)

    def solve(self, x: Sequence[int]) -> list[int]:
        """Return the bit that was written last at each reading."""
        answers, written = [], IGNORE_INDEX
        for instruction, bit in zip(x[::2], x[1::2], strict=True):
            answers += [written if instruction == READ else IGNORE_INDEX, IGNORE_INDEX]
            written = bit if instruction == WRITE else written
        return answers

    def chance_score(self, length: int) -> TaskScore:
        """Return the score of a coin flip."""
        del length
        return TaskScore(math.log(2), 1 / 2)

    def variants(self) -> Mapping[str, Task]:
        """Return the task with sparse and with dense sequences."""
        return {
            name: FlipFlop(ignored, f"{self.name}-{name}") for name, ignored in VARIANTS.items()
        }

    def measure(
        self, length: int, answers: Mapping[str, TaskAnswers], oracle: TaskScore
    ) -> dict[str, float]:
        """Return the accuracy on sparse and on dense sequences."""
        del length, oracle
        return {name: answers[name].score.accuracy for name in VARIANTS}
