"""Recall by number of pairs, and with overwriting: last values, stale answers, guesses."""

import pytest
import torch

from charlm.errors import ConfigError
from charlm.results.tasks import PERFECT, TaskScore
from charlm.tasks.base import (
    IGNORE_INDEX,
    TASKS,
    AnsweredBatch,
    TaskAnswers,
    batch_generator,
    make_example,
)
from charlm.tasks.lengths import parse_lengths

PAIRS, OVERWRITING = TASKS["recall-pairs"], TASKS["recall-overwriting"]


def draw(task_name: str, length: int, batch_size: int) -> tuple[torch.Tensor, ...]:
    generator = batch_generator(task_name, length, "test", 0, 0)
    return TASKS[task_name].sample_batch(length, batch_size, generator)


def test_each_key_is_written_thrice_with_other_values_and_asked_once() -> None:
    x, y, _ = draw("recall-overwriting", 10, 100)
    for tokens, targets in zip(x.T.tolist(), y.T.tolist(), strict=True):
        written = list(zip(tokens[:60:2], tokens[1:60:2], strict=True))
        assert len(set(written)) == 30 and len({key for key, _ in written}) == 10
        assert all(key < 64 <= value for key, value in written)
        assert sorted(tokens[60:]) == sorted({key for key, _ in written})
        for key, target in zip(tokens[60:], targets[60:], strict=True):
            assert target == [value for other, value in written if other == key][-1]


def test_pairs_beyond_the_number_of_keys_are_refused() -> None:
    assert parse_lengths("2..64", 1, PAIRS.max_length) == [2, 5, 10, 20, 50]
    problem = (
        "cannot use --lengths 2..100: the largest length of this task is 64. Try lengths up to 64"
    )
    with pytest.raises(ConfigError, match=problem):
        parse_lengths("2..100", 1, PAIRS.max_length)
    with pytest.raises(ConfigError, match="cannot use --length 65: the largest length"):
        make_example(OVERWRITING, 65)
    assert [PAIRS.multiples(length) for length in (16, 20, 32, 64)] == [(2, 4), (2,), (2,), ()]
    assert draw("recall-pairs", 64, 3)[0].shape == (192, 3)


@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize("name", ["recall-pairs", "recall-overwriting"])
def test_naming_the_first_value_is_right_as_often_as_stated(name: str, length: int) -> None:
    """A value at a random place is as good as any other that was read."""
    task = TASKS[name]
    x, y, is_answer = draw(name, length, 20_000)
    writes = (len(x) - length) // 2
    place = torch.randint(writes, (1, 20_000), generator=torch.Generator().manual_seed(0))
    guess = x[1 : 2 * writes : 2].gather(0, place).expand_as(y)
    accuracy = (guess == y)[is_answer].double().mean().item()
    assert task.unbound_accuracy(length) == pytest.approx(accuracy, abs=0.01)


def answered(guesses: torch.Tensor, batch: tuple[torch.Tensor, ...]) -> dict[str, float]:
    x, y, is_answer = batch
    accuracy = (guesses == y)[is_answer].double().mean().item()
    answers = TaskAnswers(TaskScore(1.0, accuracy), (AnsweredBatch(x, y, is_answer, guesses),))
    return OVERWRITING.measure(len(x) // 7, {"1": answers}, PERFECT)


def test_reader_without_overwriting_is_stale() -> None:
    """It keeps the first value of a key, as one that ignores later writes."""
    batch = draw("recall-overwriting", 6, 50)
    guesses = torch.zeros_like(batch[1])
    for stream, tokens in enumerate(batch[0].T.tolist()):
        for time in range(36, 42):
            at = tokens[:36:2].index(tokens[time])
            guesses[time, stream] = tokens[2 * at + 1]
    assert answered(guesses, batch) == {"stale": 1.0, "other_errors": 0.0}


def test_values_of_other_keys_and_right_ones_are_not_stale() -> None:
    batch = draw("recall-overwriting", 6, 50)
    y = batch[1].clone()
    assert answered(y, batch) == {"stale": 0.0, "other_errors": 0.0}
    assert answered(torch.full_like(y, 3), batch) == {"stale": 0.0, "other_errors": 1.0}
    y[-1] = 3
    assert answered(y, batch) == pytest.approx({"stale": 0.0, "other_errors": 1 / 6})


def test_random_values_are_stale_in_an_eighth() -> None:
    batch = draw("recall-overwriting", 8, 5000)
    guesses = torch.randint(64, 80, batch[1].shape, generator=torch.Generator().manual_seed(1))
    measured = answered(guesses, batch)
    assert measured["stale"] == pytest.approx(2 / 16, abs=0.005)
    assert measured["other_errors"] == pytest.approx(13 / 16, abs=0.005)
    assert IGNORE_INDEX not in guesses
