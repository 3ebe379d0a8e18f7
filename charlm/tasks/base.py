"""Base class and registry of synthetic memory tasks.

A task draws random sequences, has an oracle that solves them, and knows the exact score of chance.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from charlm.errors import ConfigError
from charlm.models.char_lm import CharLM
from charlm.models.recurrent import ModelFactory
from charlm.registry import Registry, docstring_sections
from charlm.results.tasks import TaskDocumentation, TaskExample, TaskScore
from charlm.seeding import derive_seed

IGNORE_INDEX = -100  # target of a step without a prediction
TaskSplit = Literal["train", "valid", "test"]
TASK_SPLITS: tuple[TaskSplit, ...] = ("train", "valid", "test")
DOCUMENTED_SECTIONS = ("source", "question", "protocol", "distance", "oracle", "chance")
STEPS_PER_DECADE = (1, 2, 5)  # lengths of a range


class TaskBatch(NamedTuple):
    """Sequences side by side."""

    x: Tensor  # token ids (time, batch), or numbers (time, batch, input_size)
    y: Tensor  # targets (time, batch); IGNORE_INDEX where there is none
    answer_mask: Tensor  # booleans (time, batch): where the prediction counts as an answer


class Task:
    """Generator of sequences whose targets follow from what was read.

    A subclass draws sequences in `sample_batch` and describes them in its docstring. Targets are
    deterministic, so the oracle's loss is 0 and all its answers are correct. Chance is the best
    score without memory: that of a model that knows the task and the time step, but no input.

    Attributes:
        name: Name in the registry.
        documentation: The sections of the class docstring.
        symbol_names: One character per token, or per input feature, for display.
        model: Factory of the model that is trained on the task.
        score_whole_sequence: Whether all answers of a sequence count as one.
        has_auxiliary_targets: Whether chance loses at targets that are no answers, too.
        min_length: Smallest length that the task is defined for.
    """

    name: str
    documentation: TaskDocumentation
    symbol_names: ClassVar[str]
    model: ModelFactory[Any] = CharLM
    score_whole_sequence: ClassVar[bool] = False
    has_auxiliary_targets: ClassVar[bool] = False
    min_length: ClassVar[int] = 1

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

    def chance_score(self, length: int) -> TaskScore:
        """Return the exact best score without memory."""
        raise NotImplementedError

    def unbound_accuracy(self) -> float | None:
        """Return the accuracy of a model that knows what was read, but not what belongs together.

        None if the task asks for no such thing.
        """
        return None

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
    "task", "charlm.tasks", {"base", "curriculum", "estimates", "scoring", "settings"}
)


def register_task(name: str) -> Callable[[type[Task]], type[Task]]:
    """Return a decorator that registers an instance of a task class under this name."""

    def register(task_class: type[Task]) -> type[Task]:
        docstring = task_class.__doc__ or ""
        task = TASKS.register(name)(task_class())
        task.name = name
        task.documentation = TaskDocumentation(
            name=name,
            summary=docstring.partition("\n")[0],
            **docstring_sections(docstring, DOCUMENTED_SECTIONS),
        )
        return task_class

    return register


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


def make_example(task: Task, length: int, seed: int = 0) -> TaskExample:
    """Return a training sequence of a task, with its answers.

    Raises:
        ConfigError: The task is not defined for this length.
    """
    check_length(length, task.min_length, f"--length {length}")
    x, _, answer_mask = task.sample_batch(
        length, 1, batch_generator(task.name, length, "train", seed, 0)
    )
    sequence = x[:, 0].tolist()
    return TaskExample(
        task=task.documentation,
        length=length,
        symbol_names=task.symbol_names,
        x=sequence,
        y=[None if target == IGNORE_INDEX else target for target in task.solve(sequence)],
        is_answer=answer_mask[:, 0].tolist(),
        chance=task.chance_score(length),
        unbound_accuracy=task.unbound_accuracy(),
    )


def parse_distances(text: str, min_length: int = 1) -> list[int]:
    """Return the lengths that `--distances` names, in increasing order.

    Args:
        text: A range such as "10..100" (10, 20, 50, 100), or a list such as "10,30".
        min_length: Smallest length of the task.

    Raises:
        ConfigError: The text is neither, contains no length, or one that is too small.
    """
    problem = f"cannot use --distances {text}"
    bounds = re.fullmatch(r"(\d{1,7})\.\.(\d{1,7})", text)
    if bounds:
        low, high = int(bounds[1]), int(bounds[2])
        steps = [step * 10**exponent for exponent in range(7) for step in STEPS_PER_DECADE]
        lengths = [step for step in steps if low <= step <= high]
    elif re.fullmatch(r"\d{1,7}(,\d{1,7})*", text):
        lengths = sorted({int(number) for number in text.split(",")})
        low = lengths[0]
    else:
        raise ConfigError(
            f"{problem}: it is neither a range nor a list. Try a range such as 10..1000, or a list "
            "such as 10,30,100"
        )
    check_length(low, min_length, f"--distances {text}")
    if not lengths:
        raise ConfigError(
            f"{problem}: it contains none of 1, 2, 5, 10, 20, 50 … Try a range such as 10..1000 "
            "or a list"
        )
    return lengths


def check_length(length: int, min_length: int, option: str) -> None:
    """Raise ConfigError if the length is too small for the task; option: for the message."""
    if length < min_length:
        raise ConfigError(f"cannot use {option}: the smallest length of this task is {min_length}")
