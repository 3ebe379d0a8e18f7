"""What a task is: sequences made at will, in which what is asked follows from what was read."""

import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from charlm.errors import ConfigError
from charlm.models.char_lm import CharLM
from charlm.models.recurrent import ModelFactory
from charlm.registry import Registry, docstring_sections
from charlm.results.tasks import TaskScore
from charlm.seeding import derive_seed

IGNORE_INDEX = -100  # a target that there is none
SPLITS = ("train", "valid", "test")
DOCUMENTED_SECTIONS = ("source", "question", "protocol", "distance", "oracle", "chance")


class TaskBatch(NamedTuple):
    """Sequences side by side."""

    x: Tensor  # what is read: (time, streams), or of numbers (time, streams, symbols)
    y: Tensor  # (time, streams), what is to be predicted and trained on; NONE where nothing is
    answer_mask: Tensor  # (time, streams), booleans: where an answer counts


class Task:
    """A subclass makes sequences in `batch` and says what they are in its docstring.

    Only what follows from what was read is a target, so the oracle's loss is 0 and all its answers
    are right. Chance is the best that one can do who knows the task and the time, and has read
    nothing.
    """

    name: str
    documentation: dict[str, str]  # its docstring's paragraphs
    symbol_names: str  # one for each symbol, to show them by; of numbers, one for each that is read
    model: ModelFactory[Any] = CharLM
    score_whole_sequence: ClassVar[bool] = (
        False  # whether all that a sequence is asked is one answer
    )
    has_auxiliary_targets: ClassVar[bool] = (
        False  # whether chance loses at targets that are no answers, too
    )
    min_distance: ClassVar[int] = 1  # distance

    @property
    def symbols(self) -> int:
        """How many there are; of numbers, how many are read at a time."""
        return len(self.symbol_names)

    def sequence_length(self, distance: int) -> int:
        """Of a sequence."""
        raise NotImplementedError

    def sample_batch(self, distance: int, streams: int, generator: torch.Generator) -> TaskBatch:
        """That many sequences of this distance."""
        raise NotImplementedError

    def solve(self, x: Sequence[Any]) -> list[Any]:
        """One sequence, as a list -> what is to be predicted at each time: from x alone."""
        raise NotImplementedError

    def chance_score(self, distance: int) -> TaskScore:
        """What is reached without any memory, exactly."""
        raise NotImplementedError

    def is_correct(self, predictions: Tensor, y: Tensor) -> Tensor:
        """What the model predicts (time, streams, ...), and y -> whether it is right."""
        return predictions.argmax(-1) == y


TASKS: Registry[Task] = Registry("task", "charlm.tasks", {"base", "curriculum"})


def register_task(name: str) -> Callable[[type[Task]], type[Task]]:
    """Registers a kind of task under a name."""

    def put(kind: type[Task]) -> type[Task]:
        made = TASKS.register(name)(kind())
        made.name, made.documentation = (
            name,
            docstring_sections(kind.__doc__ or "", DOCUMENTED_SECTIONS),
        )
        return kind

    return put


def batch_generator(
    name: str, distance: int, purpose: str, seed: int, number: int
) -> torch.Generator:
    """Of the sequences of one batch.

    Its seed's last two bits are the purpose's alone: no test batch can be a training batch, though
    PyTorch's generator looks only at the last 32 bits of a seed.
    """
    drawn = derive_seed(seed, f"{name}/{distance}", number)
    return torch.Generator().manual_seed(drawn - drawn % 4 + SPLITS.index(purpose))


def parse_distances(text: str, shortest: int = 1) -> list[int]:
    """'10..100' -> 10, 20, 50 and 100, in steps of 1, 2 and 5; '10,30' -> these two."""
    found = re.fullmatch(r"(\d{1,7})\.\.(\d{1,7})", text)
    if found:
        low, high = int(found[1]), int(found[2])
        steps = [step * 10**zeros for zeros in range(7) for step in (1, 2, 5)]
        chosen = [step for step in steps if low <= step <= high]
    elif re.fullmatch(r"\d{1,7}(,\d{1,7})*", text):
        chosen = sorted({int(one) for one in text.split(",")})
        low = chosen[0]
    else:
        raise ConfigError(
            f"--distance {text}: a range such as 10..1000, or a list such as 10,30,100"
        )
    if low < shortest:
        raise ConfigError(f"--distance {text}: the shortest of this task is {shortest}")
    if not chosen:
        raise ConfigError(
            f"--distance {text}: none of 1, 2, 5, 10, 20, 50 … is in it. Give a range such as "
            "10..1000, or a list"
        )
    return chosen
