"""Base class of formal languages, trained on short words and tested on long ones."""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from charlm.results.tasks import TaskMeasure, TaskScore
from charlm.tasks.base import IGNORE_INDEX, Task, TaskAnswers, TaskBatch

LONGEST = 32, 5  # words of a test are up to 32/5 of the trained length: 256 after 40
SHORTEST = 3


class FormalLanguage(Task):
    """Answer to a word that is given after its last symbol alone.

    The tokens of the answers come first in `symbol_names`, that of the blanks last.

    Attributes:
        num_answers: Number of different answers.
        size_step: Words have a number of symbols that has a remainder of `size_remainder` modulo
            this.
        size_remainder: That remainder.
    """

    num_answers: ClassVar[int]
    size_step: ClassVar[int] = 1
    size_remainder: ClassVar[int] = 0
    min_length = SHORTEST
    test_multiples = ()
    measures = (
        TaskMeasure(
            name="scaled",
            label="scaled accuracy",
            unit="share",
            description="scaled accuracy at the trained lengths: 0 for a guess among the answers "
            "that could occur, 1 if all are right",
        ),
        TaskMeasure(
            name="long",
            label="correct, longer words",
            unit="share",
            description="correct answers to words from T to 6.4 T symbols, as 40 to 256, untrained",
        ),
        TaskMeasure(
            name="scaled_long",
            label="scaled accuracy, longer words",
            unit="share",
            description="their scaled accuracy, as in Grazzi et al. (2025)",
        ),
    )

    def __init__(self, is_long: bool = False, name: str = "") -> None:
        self.is_long, self.name = is_long, name

    def draw_words(self, sizes: Sequence[int], steps: int, generator: torch.Generator) -> Tensor:
        """Return words of so many symbols, (steps, batch); what follows them does not matter."""
        raise NotImplementedError

    def answer_word(self, word: Sequence[int]) -> int:
        """Return the answer to a word."""
        raise NotImplementedError

    def answer_probabilities(self, longest: int) -> Tensor:
        """Return the probability of each answer to words of 0 to `longest` symbols.

        Returns:
            (longest + 1, num_answers), float64; the rows of sizes that no word has do not matter.
        """
        raise NotImplementedError

    def sizes(self, length: int) -> list[int]:
        """Return the numbers of symbols that words have, which are equally likely."""
        longest, shortest = self.sequence_length(length), length if self.is_long else SHORTEST
        sizes = range(shortest, longest + 1)
        return [size for size in sizes if size % self.size_step == self.size_remainder]

    def sequence_length(self, length: int) -> int:
        """Return the number of time steps."""
        return LONGEST[0] * length // LONGEST[1] if self.is_long else length

    def sample_batch(self, length: int, batch_size: int, generator: torch.Generator) -> TaskBatch:
        """Draw words of all sizes."""
        steps, sizes = self.sequence_length(length), torch.tensor(self.sizes(length))
        drawn = sizes[torch.randint(len(sizes), (batch_size,), generator=generator)]
        times = torch.arange(steps)[:, None]
        words = self.draw_words(drawn.tolist(), steps, generator)
        x = words.where(times < drawn, self.input_size - 1)
        answers = [
            self.answer_word(word[:size])
            for word, size in zip(x.T.tolist(), drawn.tolist(), strict=True)
        ]
        y = torch.tensor(answers).where(times == drawn - 1, IGNORE_INDEX)
        return TaskBatch(x, y, y != IGNORE_INDEX)

    def solve(self, x: Sequence[int]) -> list[int]:
        """Return the answer at the last symbol that is no blank."""
        word = [token for token in x if token != self.input_size - 1]
        targets = [IGNORE_INDEX] * len(x)
        targets[len(word) - 1] = self.answer_word(word)
        return targets

    def chance_score(self, length: int) -> TaskScore:
        """Return the score of a model that knows how many symbols were read."""
        rows = self.answer_probabilities(self.sequence_length(length))[self.sizes(length)]
        nats = -torch.special.xlogy(rows, rows).sum(1).mean()
        return TaskScore(nats.item(), rows.max(1).values.mean().item())

    def variants(self) -> Mapping[str, Task]:
        """Return the language with long words."""
        return {"long": type(self)(is_long=True, name=f"{self.name}-long")}

    def measure(
        self, length: int, answers: Mapping[str, TaskAnswers], oracle: TaskScore
    ) -> dict[str, float]:
        """Return the scaled accuracy, and both accuracies of long words."""
        del length, oracle
        guess = 1 / self.num_answers
        trained, long = (answers[name].score.accuracy for name in ("1", "long"))
        return {
            "scaled": (trained - guess) / (1 - guess),
            "long": long,
            "scaled_long": (long - guess) / (1 - guess),
        }


def uniform_rows(longest: int, answers: int) -> Tensor:
    """Return the same probability of each answer to words of every size."""
    return torch.full((longest + 1, answers), 1 / answers, dtype=torch.float64)


def count_operations(longest: int, step: int, remainder: int) -> int:
    """Return the largest number k of which step * k + remainder is no larger than `longest`."""
    return math.floor((longest - remainder) / step)
