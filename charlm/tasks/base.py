"""Base class and registry of synthetic memory tasks.

A task draws random sequences, has an oracle that solves them, and knows the exact score of chance.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from charlm.models.char_lm import CharLM
from charlm.models.recurrent import ModelFactory
from charlm.registry import Registry, docstring_sections
from charlm.results.tasks import (
    PERFECT,
    TaskDocumentation,
    TaskExample,
    TaskMeasure,
    TaskScore,
)
from charlm.seeding import derive_seed
from charlm.tasks.lengths import check_length

IGNORE_INDEX = -100  # target of a step without a prediction
TaskSplit = Literal["train", "valid", "test"]
TASK_SPLITS: tuple[TaskSplit, ...] = ("train", "valid", "test")
DOCUMENTED_SECTIONS = ("source", "question", "protocol", "length", "oracle", "chance")


class TaskBatch(NamedTuple):
    """Sequences side by side."""

    x: Tensor  # token ids (time, batch), or numbers (time, batch, input_size)
    y: Tensor  # targets (time, batch); IGNORE_INDEX where there is none
    answer_mask: Tensor  # booleans (time, batch): where the prediction counts as an answer


class AnsweredBatch(NamedTuple):
    """Sequences with the answers of a model; all are (time, batch)."""

    x: Tensor  # token ids, or numbers with a further axis
    y: Tensor
    answer_mask: Tensor
    guesses: Tensor  # most likely tokens, or predicted numbers


class PositionMeans(NamedTuple):
    """Means over sequences at each position, (time,)."""

    loss: Tensor  # nats
    accuracy: Tensor
    correct_so_far: Tensor  # share of sequences without a wrong answer up to the position


class TaskAnswers(NamedTuple):
    """Answers of a model to all sequences of a test."""

    score: TaskScore
    batches: tuple[AnsweredBatch, ...] = ()  # where they are kept
    positions: PositionMeans | None = None  # in a test, if the task scores positions


class Task:
    """Generator of sequences whose targets follow from what was read.

    A subclass draws sequences in `sample_batch` and describes them in its docstring. Targets are
    deterministic, so the oracle's loss is 0 and all its answers are correct; a task whose targets
    are random says so, and `predict_optimally` returns the best prediction. Chance is the best
    score without memory: that of a model that knows the task and the time step, but no input.

    Attributes:
        name: Name in the registry.
        documentation: The sections of the class docstring.
        symbol_names: Name of each token, or input feature, for display; all equally long.
        model: Factory of the model that is trained on the task.
        score_whole_sequence: Whether all answers of a sequence count as one.
        has_auxiliary_targets: Whether chance loses at targets that are no answers, too.
        is_deterministic: Whether the targets follow from what was read.
        solved_relative_loss: A length is solved up to this fraction of chance's loss above the
            oracle's.
        min_length: Smallest length that the task is defined for.
        max_length: Largest length that the task is defined for; None: there is no bound.
        test_multiples: Multiples of the training length that a model is tested at, increasing.
        measures: Numbers beside the accuracy that `measure` returns.
        scores_positions: Whether the score is reported by position. Then each time step has a
            target.
    """

    name: str
    documentation: TaskDocumentation
    symbol_names: Sequence[str]
    model: ModelFactory[Any] = CharLM
    score_whole_sequence: ClassVar[bool] = False
    has_auxiliary_targets: ClassVar[bool] = False
    is_deterministic: ClassVar[bool] = True
    solved_relative_loss: ClassVar[float] = 0.01
    min_length: ClassVar[int] = 1
    max_length: ClassVar[int | None] = None
    test_multiples: ClassVar[tuple[int, ...]] = (2, 4)
    measures: ClassVar[tuple[TaskMeasure, ...]] = ()
    scores_positions: ClassVar[bool] = False

    @property
    def input_size(self) -> int:
        """Vocabulary size, or the number of input features."""
        return len(self.symbol_names)

    def sequence_length(self, length: int) -> int:
        """Return the number of time steps of a sequence at this length of the task."""
        raise NotImplementedError

    def sample_batch(self, length: int, batch_size: int, generator: torch.Generator) -> TaskBatch:
        """Draw sequences of this length."""
        raise NotImplementedError

    def solve(self, x: Sequence[Any]) -> list[Any]:
        """Return the targets of one sequence, computed from its input alone.

        Args:
            x: Token ids, or rows of numbers, one per time step.

        Returns:
            One target per time step; IGNORE_INDEX where there is none.
        """
        raise NotImplementedError

    def predict_optimally(self, x: Tensor) -> Tensor:
        """Return the best prediction of random targets.

        Args:
            x: Token ids, (time, batch).

        Returns:
            Log-probabilities, (time, batch, vocabulary).
        """
        raise NotImplementedError

    def chance_score(self, length: int) -> TaskScore:
        """Return the exact best score without memory."""
        raise NotImplementedError

    def unbound_accuracy(self, length: int) -> float | None:
        """Return the accuracy of a model that knows what was read, but not what belongs together.

        None if the task asks for no such thing.
        """
        del length
        return None

    def variants(self) -> Mapping[str, "Task"]:
        """Return tasks with other sequences that a model is tested on at its training length.

        They have names of their own, which their random sequences depend on.
        """
        return {}

    def measure(
        self, length: int, answers: Mapping[str, TaskAnswers], oracle: TaskScore
    ) -> dict[str, float]:
        """Return a value for each of `measures`.

        Args:
            length: Length that the model was trained at.
            answers: Answers of the model to the tests, by the multiple of the length ("1" is the
                length itself), and by the name of the variant. Only "1" has batches.
            oracle: Score of the oracle at the length itself.
        """
        del length, answers, oracle
        return {}

    def multiples(self, length: int) -> tuple[int, ...]:
        """Return the multiples of a length that the task is defined for, of those tested."""
        limit = self.max_length
        return tuple(one for one in self.test_multiples if not limit or one * length <= limit)

    def is_correct(self, predictions: Tensor, y: Tensor) -> Tensor:
        """Return which predictions are correct.

        Args:
            predictions: Model output, (time, batch, vocabulary) or (time, batch).
            y: Targets, (time, batch).

        Returns:
            Booleans, (time, batch).
        """
        return predictions.argmax(-1) == y


TASKS: Registry[Task] = Registry(
    "task",
    "charlm.tasks",
    {
        *("base", "curriculum", "curriculum_files", "estimates", "formal_language", "lengths"),
        *("level_tests", "scoring", "settings"),
    },
)


def register_task(name: str) -> Callable[[type[Task]], type[Task]]:
    """Return a decorator that registers an instance of a task class under this name."""

    def register(task_class: type[Task]) -> type[Task]:
        task = TASKS.register(name)(task_class())
        task.name = name
        task.documentation = TaskDocumentation(
            name=name,
            summary=(task_class.__doc__ or "").partition("\n")[0],
            **documented_sections(task_class),
        )
        return task_class

    return register


def documented_sections(task_class: type[Task]) -> dict[str, str]:
    """Return the sections of a class docstring; where it has none, those of the base class."""
    docstrings = [base.__doc__ or "" for base in task_class.__mro__]
    sections: dict[str, str] = {}
    for name in DOCUMENTED_SECTIONS:
        heading = re.compile(rf"^\s*{name.capitalize()}: ", re.M)
        own = next(filter(heading.search, docstrings), docstrings[0])
        sections |= docstring_sections(own, (name,))
    return sections


def batch_generator(
    task: str, length: int, split: TaskSplit, seed: int, batch: int
) -> torch.Generator:
    """Return the random generator of one batch.

    The last two bits of its seed encode the split alone. So no test batch can be a training batch,
    even though PyTorch's generator uses only the last 32 bits of a seed.

    Args:
        task: Name of the task.
        length: Length of the task.
        split: Split that the batch belongs to.
        seed: Seed of the model that is trained; 0 for validation and test.
        batch: Number of the batch.
    """
    derived = derive_seed(seed, f"{task}/{length}", batch)
    return torch.Generator().manual_seed(derived - derived % 4 + TASK_SPLITS.index(split))


def make_example(
    task: Task, length: int, seed: int = 0, oracle: TaskScore = PERFECT
) -> TaskExample:
    """Return a training sequence of a task, with its answers.

    Args:
        task: The task.
        length: Length of the sequence.
        seed: Seed of the sequence.
        oracle: Score of the oracle at this length.

    Raises:
        ConfigError: The task is not defined for this length.
    """
    check_length(length, f"--length {length}", task.min_length, task.max_length)
    x, _, answer_mask = task.sample_batch(
        length, 1, batch_generator(task.name, length, "train", seed, 0)
    )
    sequence = x[:, 0].tolist()
    return TaskExample(
        task=task.documentation,
        length=length,
        symbol_names=tuple(task.symbol_names),
        x=sequence,
        y=[None if target == IGNORE_INDEX else target for target in task.solve(sequence)],
        is_answer=answer_mask[:, 0].tolist(),
        chance=task.chance_score(length),
        unbound_accuracy=task.unbound_accuracy(length),
        oracle=oracle,
        measures=task.measures,
    )
