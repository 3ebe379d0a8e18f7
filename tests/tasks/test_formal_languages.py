"""Formal languages: values by Python's arithmetic, exact chance, sizes, scaled accuracy."""

import re
from collections import Counter
from itertools import product

import pytest
import torch

from charlm.results.tasks import PERFECT, TaskScore
from charlm.tasks.base import IGNORE_INDEX, TASKS, TaskAnswers, batch_generator
from charlm.tasks.formal_language import FormalLanguage

NAMES = [name for name in TASKS if name.startswith("formal-")]


def language(name: str) -> FormalLanguage:
    task = TASKS[name]
    assert isinstance(task, FormalLanguage)
    return task


def words(name: str, length: int, batch_size: int, is_long: bool = False) -> list[tuple[str, str]]:
    """Return words and the symbols of their answers."""
    task = TASKS[name].variants()["long"] if is_long else TASKS[name]
    generator = batch_generator(task.name, length, "test", 0, 0)
    x, y, is_answer = task.sample_batch(length, batch_size, generator)
    assert torch.equal(is_answer, y != IGNORE_INDEX) and (is_answer.sum(0) == 1).all()
    return [
        (
            "".join(task.symbol_names[token] for token in tokens).rstrip("."),
            task.symbol_names[max(targets)],
        )
        for tokens, targets in zip(x.T.tolist(), y.T.tolist(), strict=True)
    ]


@pytest.mark.parametrize("name", ["formal-arithmetic", "formal-arithmetic-brackets"])
@pytest.mark.parametrize("is_long", [False, True])
def test_arithmetic_is_that_of_python(name: str, is_long: bool) -> None:
    for word, answer in words(name, 40, 200, is_long):
        assert word.endswith("=") and int(answer) == eval(word[:-1]) % 5


def test_every_operation_has_brackets() -> None:
    depths = set()
    for word, _ in words("formal-arithmetic-brackets", 40, 500):
        depth, depths_of_word = 0, [0]
        for symbol in word:
            depth += (symbol == "(") - (symbol == ")")
            depths_of_word.append(depth)
        assert depth == 0 and word.count("(") == len(re.findall(r"[-+*]", word))
        depths.add(max(depths_of_word))
    assert len(depths) > 5


def test_walks_end_where_their_moves_lead() -> None:
    for word, answer in words("formal-cycle-navigation", 40, 200):
        place = 0
        for move in word:
            place = {"<": (place or 5) - 1, ">": (place + 1) % 5, "=": place}[move]
        assert int(answer) == place


def test_number_of_changing_pairs_is_even_if_ends_are_equal() -> None:
    for word, answer in words("formal-even-pairs", 40, 200):
        changes = sum(one != other for one, other in zip(word, word[1:], strict=False))
        assert (answer == "a") == (changes % 2 == 0)


def test_parity_is_asked_at_the_end_alone() -> None:
    for word, answer in words("formal-parity", 40, 200):
        assert int(answer) == word.count("1") % 2


@pytest.mark.parametrize(
    ("name", "sizes"),
    {
        "formal-parity": range(3, 41),
        "formal-even-pairs": range(3, 41),
        "formal-cycle-navigation": range(3, 41),
        "formal-arithmetic": range(4, 41, 2),
        "formal-arithmetic-brackets": range(6, 41, 4),
    }.items(),
)
def test_sizes_are_equally_likely_and_long_ones_40_to_256(name: str, sizes: range) -> None:
    drawn = Counter(len(word) for word, _ in words(name, 40, 2000))
    assert sorted(drawn) == list(sizes) and max(drawn.values()) < 2 * 2000 / len(sizes)
    long = {len(word) for word, _ in words(name, 40, 400, is_long=True)}
    assert 40 <= min(long) < 50 and 240 < max(long) <= 256


def enumerate_words(name: str, size: int) -> list[tuple[str, float]]:
    """Return all words of a size that have an answer, with their probabilities."""
    numbers, signs = "01234", "+-*"
    if name == "formal-cycle-navigation":
        return [("".join(word), 3.0**-size) for word in product("=<>", repeat=size)]
    if name == "formal-arithmetic":
        parts = [numbers if place % 2 == 0 else signs for place in range(size - 1)]
        all_words = ["".join(word) + "=" for word in product(*parts)]
        return [(word, 1 / len(all_words)) for word in all_words]
    if size == 6:
        return [(f"({a}{s}{b})=", 1 / 75) for a in numbers for s in signs for b in numbers]
    inner = [word[:-1] for word, _ in enumerate_words(name, 6)]
    outer = [(part, s, a) for part in inner for s in signs for a in numbers]
    left = [(f"({part}{s}{a})=", 0.5 / len(outer)) for part, s, a in outer]
    return left + [(f"({a}{s}{part})=", 0.5 / len(outer)) for part, s, a in outer]


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("formal-cycle-navigation", [3, 4, 5]),
        ("formal-arithmetic", [4, 6]),
        ("formal-arithmetic-brackets", [6, 10]),
    ],
)
def test_chance_is_that_of_all_words(name: str, sizes: list[int]) -> None:
    task, probabilities = language(name), language(name).answer_probabilities(max(sizes))
    for size in sizes:
        shares = [0.0] * 5
        for word, probability in enumerate_words(name, size):
            shares[task.answer_word([task.symbol_names.index(s) for s in word])] += probability
        assert probabilities[size].tolist() == pytest.approx(shares, abs=1e-12)
    chance = task.chance_score(max(sizes))
    best = [probabilities[size].max().item() for size in sizes]
    assert chance.accuracy == pytest.approx(sum(best) / len(best), abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_scaled_accuracy_is_zero_for_a_guess_and_one_if_all_is_right(name: str) -> None:
    task = language(name)

    def measure(accuracy: float) -> dict[str, float]:
        answers = TaskAnswers(TaskScore(1.0, accuracy))
        return task.measure(40, {"1": answers, "long": answers}, PERFECT)

    guess = 1 / task.num_answers
    assert measure(guess) == pytest.approx({"scaled": 0.0, "long": guess, "scaled_long": 0.0})
    assert measure(1.0) == {"scaled": 1.0, "long": 1.0, "scaled_long": 1.0}
