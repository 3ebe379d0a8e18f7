"""Word problems of groups: products by hand, chance of random walks, tracked lengths."""

import math
from collections import Counter
from itertools import product

import pytest
import torch

from charlm.results.tasks import PERFECT, TaskScore
from charlm.tasks.base import TASKS, PositionMeans, TaskAnswers, batch_generator
from charlm.tasks.word_problem import WordProblem, permutation_group

GROUPS = {
    name.removeprefix("word-problem-"): task.group
    for name, task in TASKS.items()
    if isinstance(task, WordProblem)
}
ORDERS = {"z2": 2, "z60": 60, "s3": 6, "a5": 60, "s5": 120, "s5-swaps": 120}


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_group_has_identity_inverses_and_is_associative(name: str, order: int) -> None:
    table = GROUPS[name].table
    assert table.shape == (order, order) and len(set(GROUPS[name].names)) == order
    assert table[0].tolist() == table[:, 0].tolist() == list(range(order))
    assert ((table == 0).sum(1) == 1).all()
    one, two, three = torch.randint(order, (3, 1000), generator=torch.Generator().manual_seed(0))
    assert torch.equal(table[table[one, two], three], table[one, table[two, three]])


def test_only_groups_of_permutations_depend_on_the_order_of_elements() -> None:
    is_commutative = {name: bool((g.table == g.table.T).all()) for name, g in GROUPS.items()}
    assert {name for name, commutes in is_commutative.items() if commutes} == {"z2", "z60"}


@pytest.mark.parametrize("name", ["s3", "a5", "s5", "s5-swaps"])
def test_targets_are_places_of_objects_moved_one_by_one(name: str) -> None:
    task = TASKS[f"word-problem-{name}"]
    x, y, _ = task.sample_batch(11, 50, batch_generator(task.name, 11, "train", 0, 0))
    for inputs, targets in zip(x.T.tolist(), y.T.tolist(), strict=True):
        shelf = list(range(1, 1 + len(task.symbol_names[0])))  # objects by their present place
        for element, target in zip(inputs, targets, strict=True):
            moved = shelf.copy()
            for place, goal in enumerate(task.symbol_names[element]):
                moved[int(goal) - 1] = shelf[place]
            shelf = moved
            places = "".join(str(shelf.index(thing) + 1) for thing in sorted(shelf))
            assert task.symbol_names[target] == places


def test_targets_of_numbers_are_sums_modulo() -> None:
    task = TASKS["word-problem-z60"]
    x, y, is_answer = task.sample_batch(100, 20, batch_generator(task.name, 100, "test", 0, 0))
    assert torch.equal(y, x.cumsum(0) % 60)
    assert is_answer.sum() == 20 and is_answer[-1].all()


def test_even_permutations_are_products_of_three_cycles() -> None:
    group = GROUPS["a5"]
    cycles = [
        element for element in group.elements if sum(p != i for i, p in enumerate(element)) == 3
    ]
    assert len(cycles) == 20
    assert {group.multiply(*pair) for pair in product(cycles, repeat=2)} == set(group.elements)


def test_swaps_move_two_objects_at_most() -> None:
    task = TASKS["word-problem-s5-swaps"]
    x, _, _ = task.sample_batch(50, 50, batch_generator(task.name, 50, "train", 0, 0))
    names = {task.symbol_names[element] for element in x.flatten().tolist()}
    assert len(names) == 11
    assert all(sum(a != b for a, b in zip(name, "12345", strict=True)) <= 2 for name in names)


@pytest.mark.parametrize("length", [1, 2, 4])
def test_chance_of_swaps_is_that_of_all_sequences(length: int) -> None:
    """Every sequence of swaps of three objects is enumerated."""

    class Swaps(WordProblem):
        group = permutation_group(3, only_swaps=True)

    task, entropy = Swaps(), 0.0
    for steps in range(1, length + 1):
        words = product(task.group.inputs, repeat=steps)
        ends = Counter(task.solve(word)[-1] for word in words)
        shares = [count / 4**steps for count in ends.values()]
        entropy -= sum(share * math.log(share) for share in shares)
    chance = task.chance_score(length)
    assert chance.loss == pytest.approx(entropy / length, abs=1e-12)
    assert chance.accuracy == pytest.approx(max(shares), abs=1e-12)


def test_chance_of_many_swaps_is_uniform() -> None:
    chance = TASKS["word-problem-s5-swaps"].chance_score(10**6)
    assert chance.loss == pytest.approx(math.log(120), abs=1e-4)
    assert chance.accuracy == pytest.approx(1 / 120)


def test_tracked_length_ends_where_a_tenth_of_the_sequences_is_wrong() -> None:
    task = TASKS["word-problem-s3"]

    def answers(so_far: list[float]) -> TaskAnswers:
        means = PositionMeans(torch.zeros(3), torch.ones(3), torch.tensor(so_far))
        return TaskAnswers(TaskScore(0.0, 1.0), positions=means)

    tests = {"1": answers([1.0, 0.75]), "16": answers([1.0, 0.97, 0.9, 0.89, 0.2])}
    assert task.measure(2, tests, PERFECT) == {"tracked": 3.0, "sequence_accuracy": 0.75}
