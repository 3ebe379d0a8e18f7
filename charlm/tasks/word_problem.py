"""Word problems of finite groups, the state-tracking tasks of Merrill et al. (2024)."""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, permutations, product
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from charlm.results.tasks import TaskMeasure, TaskScore
from charlm.tasks.base import Task, TaskAnswers, TaskBatch, register_task

TRACKED_SHARE = 0.9  # of the sequences, for the longest tracked length
CONVERGED = 1e-15  # of a distribution

Element = tuple[int, ...]  # a permutation, or rotations of cycles


class Group(NamedTuple):
    """A finite group whose elements are tuples, and the elements that sequences consist of."""

    elements: tuple[Element, ...]
    names: tuple[str, ...]  # of the elements
    is_permuted: bool  # whether elements are permutations; otherwise they are numbers modulo
    inputs: tuple[int, ...]  # numbers of the elements that sequences consist of

    def multiply(self, first: Element, then: Element) -> Element:
        """Return the product: for permutations, the first and then the other one."""
        if self.is_permuted:
            return tuple(then[place] for place in first)
        return ((first[0] + then[0]) % len(self.elements),)

    @property
    def table(self) -> Tensor:
        """The number of each product of two elements, (order, order)."""
        number = {element: index for index, element in enumerate(self.elements)}
        products = [number[self.multiply(*pair)] for pair in product(self.elements, repeat=2)]
        return torch.tensor(products).view(len(self.elements), -1)


def cyclic_group(order: int) -> Group:
    """Return the numbers modulo an order, with addition."""
    width = len(str(order - 1))
    elements = tuple((number,) for number in range(order))
    names = tuple(f"{number:0{width}}" for number in range(order))
    return Group(elements, names, False, tuple(range(order)))


def permutation_group(degree: int, only_even: bool = False, only_swaps: bool = False) -> Group:
    """Return permutations of some objects.

    Args:
        degree: Number of objects.
        only_even: Whether to leave odd permutations out.
        only_swaps: Whether sequences consist of the identity and swaps of two objects alone.
    """
    elements = tuple(
        element
        for element in permutations(range(degree))
        if not only_even or count_inversions(element) % 2 == 0
    )
    names = tuple("".join(str(place + 1) for place in element) for element in elements)
    inputs = tuple(
        number
        for number, element in enumerate(elements)
        if not only_swaps or sum(place != at for at, place in enumerate(element)) <= 2
    )
    return Group(elements, names, True, inputs)


def count_inversions(element: Element) -> int:
    """Return how many pairs of objects a permutation puts into reverse order."""
    return sum(one > other for index, one in enumerate(element) for other in element[index + 1 :])


class WordProblem(Task):
    """Product of all group elements so far, after each of them.

    Source: Merrill, Petty & Sabharwal (2024), "The illusion of state in state-space models"; Liu
    et al. (2023), "Transformers learn shortcuts to automata"; Grazzi et al. (2025).

    Protocol: T elements of the group, drawn uniformly. After each, the product of all so far is
    predicted and trained on. The answer that counts is the last one. A permutation such as 231 puts
    the first object at the second place; in a product, the first one is applied first. A model is
    tested up to 16 times T.

    Length: T, the number of elements that the answer depends on.

    Oracle: Looks each product up in the table of the group. Its loss is 0.

    Chance: Each product is equally likely: ln n and 1/n for a group of n elements.
    """

    group: ClassVar[Group]

    has_auxiliary_targets = True
    test_multiples = (2, 4, 8, 16)
    scores_positions = True
    measures = (
        TaskMeasure(
            name="tracked",
            label="tracked length",
            unit="steps",
            description="longest length up to which 90 % of the sequences have no wrong answer, of "
            "those up to 16 times the length; by chance 0",
        ),
        TaskMeasure(
            name="sequence_accuracy",
            label="whole sequences right",
            unit="share",
            description="sequences of the length itself in which each answer is right; by chance "
            "no more than the last answers",
        ),
    )

    def __init__(self) -> None:
        self.symbol_names = self.group.names
        self.table, self.inputs = self.group.table, torch.tensor(self.group.inputs)

    def sequence_length(self, length: int) -> int:
        """Return the number of time steps."""
        return length

    def sample_batch(self, length: int, batch_size: int, generator: torch.Generator) -> TaskBatch:
        """Draw elements."""
        chosen = torch.randint(len(self.inputs), (length, batch_size), generator=generator)
        x = self.inputs[chosen]
        y = x.clone()
        shift = 1  # each product is of so many elements, or of all from the first one on
        while shift < length:
            y[shift:] = self.table[y[:-shift], y[shift:]]
            shift *= 2
        is_last = torch.arange(length)[:, None].expand_as(x) == length - 1
        return TaskBatch(x, y, is_last)

    def solve(self, x: Sequence[int]) -> list[int]:
        """Return the running product."""
        group = self.group
        products = accumulate((group.elements[number] for number in x), group.multiply)
        return [group.elements.index(element) for element in products]

    def chance_score(self, length: int) -> TaskScore:
        """Return the score of a model that knows the distribution of the product of so many."""
        order = len(self.group.elements)
        if len(self.inputs) == order:
            return TaskScore(math.log(order), 1 / order)
        step = torch.zeros(order, order, dtype=torch.float64)
        for element in self.group.inputs:
            step[torch.arange(order), self.table[:, element]] += 1 / len(self.group.inputs)
        distribution = torch.zeros(order, dtype=torch.float64)
        distribution[0] = 1.0  # the first element is the identity
        nats = 0.0
        for time in range(length):
            last, distribution = distribution, distribution @ step
            entropy = -torch.special.xlogy(distribution, distribution).sum().item()
            if (distribution - last).abs().max() < CONVERGED:
                nats += (length - time) * entropy
                break
            nats += entropy
        return TaskScore(nats / length, distribution.max().item())

    def measure(
        self, length: int, answers: Mapping[str, TaskAnswers], oracle: TaskScore
    ) -> dict[str, float]:
        """Return the longest tracked length, and the share of sequences without an error."""
        del oracle
        trained, longest = (
            answers[str(factor)].positions for factor in (1, self.test_multiples[-1])
        )
        if trained is None or longest is None:
            return {}
        tracked = int((longest.correct_so_far >= TRACKED_SHARE).sum())
        return {
            "tracked": float(tracked),
            "sequence_accuracy": trained.correct_so_far[length - 1].item(),
        }


@register_task("word-problem-z2")
class WordProblemZ2(WordProblem):
    """Add numbers modulo 2, the group Z2: parity.

    Question: Can one bit be flipped again and again? If a cell is linear in its state, it needs an
    eigenvalue of -1 for that.

    At T = 4, the input, and below it the targets; the last one counts:

        0111
        0101
    """

    group = cyclic_group(2)


@register_task("word-problem-z60")
class WordProblemZ60(WordProblem):
    """Add numbers modulo 60, the group Z60.

    Question: Can a cell count modulo 60? The group is as large as A5, but the order of the elements
    does not matter.

    At T = 4, the input, and below it the targets; the last one counts:

        07 58 01 20
        07 05 06 26
    """

    group = cyclic_group(60)


@register_task("word-problem-s3")
class WordProblemS3(WordProblem):
    """Permute three objects again and again, the group S3 of 6 permutations.

    Question: Can a cell track the smallest group in which the order of the elements matters?

    At T = 4, the input, and below it the targets; the last one counts:

        231 132 231 321
        231 321 132 312
    """

    group = permutation_group(3)


@register_task("word-problem-a5")
class WordProblemA5(WordProblem):
    """Permute five objects evenly again and again, the group A5 of 60 permutations.

    Question: Can a cell track a group that is not made up of commutative ones? Its word problem is
    complete for NC1: no fixed number of parallel layers solves it, unless TC0 is NC1.

    At T = 4, the input, and below it the targets; the last one counts:

        12453 21354 12453 54321
        12453 21543 21354 45312
    """

    group = permutation_group(5, only_even=True)


@register_task("word-problem-s5")
class WordProblemS5(WordProblem):
    """Permute five objects again and again, the group S5 of 120 permutations.

    Question: Can a cell track five objects while any of them change places?

    At T = 4, the input, and below it the targets; the last one counts:

        12354 21345 23451 54321
        12354 21354 32415 34251
    """

    group = permutation_group(5)


@register_task("word-problem-s5-swaps")
class WordProblemS5Swaps(WordProblem):
    """Swap two of five objects again and again, the group S5 of 120 permutations.

    Question: Can a cell track five objects while two at a time change places? A swap is one
    Householder reflection.

    Protocol: T elements, drawn uniformly from the identity and the ten swaps of two objects. After
    each, the product of all so far is predicted and trained on. The answer that counts is the last
    one. A permutation such as 231 puts the first object at the second place; in a product, the
    first one is applied first. A model is tested up to 16 times T.

    Chance: The distribution of the product of so many elements follows from the table of the group.
    Its entropy is the loss, and its largest probability the accuracy; they approach ln 120 and
    1/120.

    At T = 4, the input, and below it the targets; the last one counts:

        12354 12435 12345 21345
        12354 12453 12453 21453
    """

    group = permutation_group(5, only_swaps=True)
