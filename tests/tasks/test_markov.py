"""In-context Markov chains: the Bayes predictor, its loss, and readers that count less."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from charlm.models.recurrent import ModelState
from charlm.results.tasks import TaskScore
from charlm.tasks.base import TASKS, batch_generator
from charlm.tasks.level_tests import run_level_tests
from charlm.tasks.scoring import answer_optimally, evaluate_task, is_solved, score_oracle

TASK = TASKS["markov"]


@pytest.mark.parametrize("at_once", [1, 3, 1024])
def test_predictor_counts_what_followed_the_current_letter(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charlm.tasks.markov.COUNTED_STEPS", at_once)
    x = torch.tensor([[0], [1], [0], [2], [0], [1], [3]])
    p = TASK.predict_optimally(x).exp()[:, 0]
    assert p[0].tolist() == pytest.approx([1 / 4] * 4)
    assert p[2].tolist() == pytest.approx([1 / 5, 2 / 5, 1 / 5, 1 / 5])
    assert p[4].tolist() == pytest.approx([1 / 6, 2 / 6, 2 / 6, 1 / 6])
    assert p[5].tolist() == pytest.approx([2 / 5, 1 / 5, 1 / 5, 1 / 5])
    assert p[6].tolist() == pytest.approx([1 / 4] * 4)
    assert p.sum(-1).tolist() == pytest.approx([1.0] * 7)


def test_predicted_probability_of_a_sequence_is_that_of_the_prior() -> None:
    """By the closed form of the Dirichlet: a row gives 3! times its n! over (m + 3)!."""
    total = 0.0
    words = list(product(range(4), repeat=4))
    p = TASK.predict_optimally(torch.tensor(words).T[:-1])
    for number, word in enumerate(words):
        expected = 1.0
        for letter in range(4):
            following = [b for a, b in zip(word, word[1:], strict=False) if a == letter]
            counts = [following.count(other) for other in range(4)]
            expected *= 6 * math.prod(map(math.factorial, counts)) / math.factorial(sum(counts) + 3)
        predicted = sum(p[time, number, word[time + 1]].item() for time in range(3))
        assert predicted == pytest.approx(math.log(expected))
        total += expected / 4
    assert total == pytest.approx(1.0)


def test_oracle_loss_is_the_expected_one() -> None:
    """After two letters, a repeated one has been counted once: (2, 1, 1, 1) / 5."""
    skewed = -2 / 5 * math.log(2 / 5) - 3 / 5 * math.log(1 / 5)
    expected = (math.log(4) + skewed / 4 + 3 / 4 * math.log(4)) / 2
    assert score_oracle(TASK, 2, "test", 64 * 400).loss == pytest.approx(expected, abs=0.003)


def test_chains_are_uniform_over_tables() -> None:
    """Two letters in a row after the same one are equal in 2 of 5 (Dirichlet), not in 1 of 4."""
    generator = batch_generator(TASK.name, 400, "train", 0, 0)
    x, y, _ = TASK.sample_batch(400, 2000, generator)
    assert torch.equal(x[1:], y[:-1])
    first = (x == 0).int().argmax(0)
    second = ((x == 0) & (torch.arange(400)[:, None] > first)).int().argmax(0)
    has_both = second > first
    streams = torch.arange(2000)
    equal = (y[first, streams] == y[second, streams])[has_both].double().mean().item()
    assert equal == pytest.approx(0.4, abs=0.035)


def test_long_chains_approach_the_entropy_of_a_random_row() -> None:
    """The mean entropy of a row is 1/2 + 1/3 + 1/4 nats, weighted by visits somewhat less."""
    means = answer_optimally(TASK, 600, "test", 256).positions
    assert means is not None
    assert 0.95 < means.loss[-100:].mean().item() < 1 / 2 + 1 / 3 + 1 / 4
    assert means.loss[0].item() == pytest.approx(math.log(4))


class Reader(nn.Module):
    """Predicts as the oracle does, from no more than so many letters."""

    def __init__(self, memory: int) -> None:
        super().__init__()
        self.bias, self.memory = nn.Parameter(torch.zeros(1)), memory

    def initial_state(self, batch: int) -> ModelState:
        del batch
        return ()

    def forward(self, x: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        predictions = [
            TASK.predict_optimally(x[max(0, time + 1 - self.memory) : time + 1])[-1]
            for time in range(len(x))
        ]
        return torch.stack(predictions), state

    def loss_fn(self, predictions: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(predictions.flatten(0, 1), y.flatten())


@pytest.mark.parametrize(("memory", "learned"), [(1000, 1.0), (1, 0.0)])
def test_reader_without_memory_is_chance_and_with_all_is_the_oracle(
    memory: int, learned: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charlm.tasks.level_tests.TEST_SEQUENCES", 64)
    tests = run_level_tests(Reader(memory), TASK, 10)  # type: ignore[arg-type]
    assert tests.test is not None
    assert tests.measures["learned"] == pytest.approx(learned, abs=1e-6)
    assert tests.measures["excess"] == pytest.approx(tests.test.loss - tests.oracle.loss)
    excess = [score.loss - score.oracle_loss for score in tests.by_position]
    assert [score.position for score in tests.by_position] == [1, 2, 5, 10, 20, 40]
    assert excess == pytest.approx([0.0] * 6, abs=1e-6) if learned else excess[-1] > 0.1


def test_shorter_memory_loses_more() -> None:
    losses = [evaluate_task(Reader(memory), TASK, 20, "test", 64).loss for memory in (1, 5, 10, 20)]  # type: ignore[arg-type]
    assert losses == sorted(losses, reverse=True) and losses[0] == pytest.approx(math.log(4))


def test_solved_is_a_tenth_of_chance_above_the_oracle() -> None:
    chance, oracle = TaskScore(1.4, 0.25), TaskScore(1.0, 0.5)
    assert is_solved(TASK, TaskScore(1.039, 0.5), chance, oracle)
    assert not is_solved(TASK, TaskScore(1.041, 1.0), chance, oracle)
