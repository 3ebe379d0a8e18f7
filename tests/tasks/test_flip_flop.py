"""Flip-flop language: shares of instructions, gaps, and readers of known memory."""

import pytest
import torch

from charlm.results.tasks import PERFECT, TaskScore
from charlm.tasks.base import IGNORE_INDEX, TASKS, TaskAnswers, batch_generator
from charlm.tasks.flip_flop import IGNORE, READ, VARIANTS, WRITE, FlipFlop

TASK = TASKS["flip-flop"]
IGNORED = {"": 0.8, **VARIANTS}


def draw(name: str, length: int, batch_size: int) -> tuple[torch.Tensor, ...]:
    task = TASK.variants()[name] if name else TASK
    return task.sample_batch(length, batch_size, batch_generator(task.name, length, "test", 0, 0))


@pytest.mark.parametrize(("name", "ignored"), IGNORED.items())
def test_instructions_have_their_shares(name: str, ignored: float) -> None:
    x, _, _ = draw(name, 102, 1000)
    instructions = x[::2]
    assert (instructions[0] == WRITE).all() and (instructions[-1] == READ).all()
    inner = instructions[1:-1]
    for token, share in ((IGNORE, ignored), (WRITE, (1 - ignored) / 2), (READ, (1 - ignored) / 2)):
        assert (inner == token).double().mean().item() == pytest.approx(share, abs=0.01)
    assert (x[1::2] < 2).all()


@pytest.mark.parametrize("name", IGNORED)
def test_each_reading_is_followed_by_the_bit_of_the_last_writing(name: str) -> None:
    x, y, _ = draw(name, 60, 50)
    for tokens, targets in zip(x.T.tolist(), y.T.tolist(), strict=True):
        for time, target in enumerate(targets):
            if tokens[time] != READ:
                assert target == IGNORE_INDEX
                continue
            last = max(at for at in range(0, time, 2) if tokens[at] == WRITE)
            assert target == tokens[last + 1] == tokens[time + 1]


def test_ignored_bits_tell_nothing() -> None:
    x, y, _ = draw("dense", 100, 2000)
    before = x[1:-2:2][(y[2::2] != IGNORE_INDEX) & (x[:-2:2] == IGNORE)]
    target = y[2::2][(y[2::2] != IGNORE_INDEX) & (x[:-2:2] == IGNORE)]
    assert (before == target).double().mean().item() == pytest.approx(0.5, abs=0.02)


def test_reader_that_forgets_is_right_by_chance_beyond_its_reach() -> None:
    """It holds a bit for so many instructions after it was written or read, then flips a coin."""
    task, reach, length = TASK.variants()["sparse"], 8, 200
    assert isinstance(task, FlipFlop)
    x, y, is_answer = draw("sparse", length, 300)
    correct = expected = 0.0
    coins = torch.randint(2, (length, 300), generator=torch.Generator().manual_seed(3))
    streams = zip(x.T.tolist(), y.T.tolist(), coins.T.tolist(), strict=True)
    for tokens, targets, guesses in streams:
        seen, bit = 0, 0
        for time, guess in enumerate(guesses):
            instruction = tokens[2 * time]
            if instruction == READ:
                is_held = time - seen <= reach
                correct += (bit if is_held else guess) == targets[2 * time]
                expected += 1.0 if is_held else 0.5
            if instruction != IGNORE:
                seen, bit = time, tokens[2 * time + 1]
    total = int(is_answer.sum())
    assert expected / total < 0.75
    assert correct / total == pytest.approx(expected / total, abs=0.03)


def test_variants_have_sequences_of_their_own() -> None:
    names = {task.name for task in TASK.variants().values()}
    assert names == {"flip-flop-sparse", "flip-flop-dense"}


def test_measures_are_the_accuracies_of_the_variants() -> None:
    accuracies = {"1": 1.0, "sparse": 0.5, "dense": 0.75}
    tests = {name: TaskAnswers(TaskScore(0.1, share)) for name, share in accuracies.items()}
    assert TASK.measure(5, tests, PERFECT) == {"sparse": 0.5, "dense": 0.75}
