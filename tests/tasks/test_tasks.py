"""Tasks: what is asked follows from what was read, and chance is what the docstring says."""

import math
import re
from collections import Counter, defaultdict

import pytest
import torch

from charlm.errors import ConfigError
from charlm.models.regressor import RecurrentRegressor
from charlm.seeding import derive_seed
from charlm.tasks.base import IGNORE_INDEX, SPLITS, TASKS, Task, batch_generator, parse_distances

SYMBOLIC = [name for name, one in TASKS.items() if one.model is not RecurrentRegressor]


def drawn(one: Task, distance: int, streams: int, number: int = 0) -> tuple[torch.Tensor, ...]:
    return one.sample_batch(
        distance, streams, batch_generator(one.name, distance, "train", 0, number)
    )


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("farther", [0, 1, 2, 9, 40])
def test_the_oracle_is_right_from_what_is_read_alone(name: str, farther: int) -> None:
    one = TASKS[name]
    distance = one.min_distance + farther
    x, y, asked = drawn(one, distance, 500)
    assert x.shape[:2] == y.shape == asked.shape == (one.sequence_length(distance), 500)
    assert (y != IGNORE_INDEX)[asked].all() and asked.any(0).all()
    for stream_x, stream_y in zip(x.unbind(1), y.unbind(1), strict=True):
        assert one.solve(stream_x.tolist()) == pytest.approx(stream_y.tolist(), abs=1e-5)


@pytest.mark.parametrize("name", SYMBOLIC)
def test_a_tasks_picture_shows_its_rule(name: str) -> None:
    one = TASKS[name]
    *_, picture = re.split(r"\n\s*\n", (type(one).__doc__ or "").rstrip())
    read, answers = (line[8:] for line in picture.splitlines())
    y = [IGNORE_INDEX if letter == " " else one.symbol_names.index(letter) for letter in answers]
    y += [IGNORE_INDEX] * (len(read) - len(y))
    assert one.solve([one.symbol_names.index(letter) for letter in read]) == y


def test_a_bracket_is_closed_as_one_finds_by_crossing_out_pairs() -> None:
    one = TASKS["dyck"]
    x, y, asked = drawn(one, 31, 300)
    spans, deepest = Counter[int](), 0
    for number in range(300):
        depth = 0
        for symbol in x[:, number].tolist():
            depth += -1 if symbol == 4 else 1
            deepest = max(deepest, depth)
        left = list(enumerate(x[:, number].tolist()))
        while left:
            at = next(i for i, (_, symbol) in enumerate(left) if symbol == 4)
            (opened, kind), (closed, _) = left[at - 1 : at + 1]
            assert y[closed, number] == kind
            if asked[closed, number]:
                spans[closed - opened] += 1
            del left[at - 1 : at + 1]
    assert deepest == 4
    assert set(spans) == set(range(1, 32, 2)) and max(spans.values()) < 40  # 300 among 16


@pytest.mark.parametrize("name", SYMBOLIC)
@pytest.mark.parametrize("farther", [2, 7])
def test_chance_is_what_the_best_guess_without_reading_comes_to(name: str, farther: int) -> None:
    """Guesses are learnt, for each time, from 20,000 sequences and tried on as many others."""
    one = TASKS[name]
    distance = one.min_distance + farther
    _, seen, _ = drawn(one, distance, 20_000)
    _, y, asked = drawn(one, distance, 20_000, 1)
    count = torch.stack([(seen == symbol).sum(1) for symbol in range(one.symbols)], 1).double()
    share = (count + 1e-9) / (count + 1e-9).sum(1, keepdim=True)
    times = torch.arange(len(y))[:, None].expand_as(y)
    scored = y != IGNORE_INDEX
    loss = -share[times[scored], y[scored]].log().mean().item()
    chance = one.chance_score(distance)
    assert loss == pytest.approx(chance.loss, abs=0.01)
    if one.score_whole_sequence:  # the best guess of the whole: one of those that are most frequent
        wholes = Counter(tuple(sequence) for sequence in seen.T.tolist())
        guess = torch.tensor(wholes.most_common(1)[0][0])[:, None]
        accuracy = ((guess == y) | ~asked).all(0).double().mean().item()
    else:
        accuracy = (share.argmax(1)[:, None] == y)[asked].double().mean().item()
    assert accuracy == pytest.approx(chance.accuracy, abs=0.02)


@pytest.mark.parametrize("name", SYMBOLIC)
def test_chance_loses_where_nothing_is_asked_only_in_tasks_that_practise(name: str) -> None:
    _, y, asked = drawn(TASKS[name], TASKS[name].min_distance + 7, 500)
    others = y.where(~asked, IGNORE_INDEX)
    known = all(len({int(target) for target in time} - {IGNORE_INDEX}) < 2 for time in others)
    assert known != TASKS[name].has_auxiliary_targets


@pytest.mark.parametrize("distance", [2, 9])
def test_chance_of_adding_is_that_of_the_mean(distance: int) -> None:
    one = TASKS["adding"]
    x, y, asked = drawn(one, distance, 50_000)
    assert y[asked].mean().item() == pytest.approx(1, abs=0.01)
    guess = torch.ones_like(y)
    assert (guess - y)[asked].square().mean().item() == pytest.approx(1 / 6, abs=0.003)
    assert one.chance_score(distance).loss == 1 / 6
    found = one.is_correct(guess, y)[asked].double().mean().item()
    assert found == pytest.approx(one.chance_score(distance).accuracy, abs=0.005)
    marks = x[..., 1]
    assert (marks[: distance // 2].sum(0) == 1).all() and (marks[distance // 2 :].sum(0) == 1).all()


@pytest.mark.parametrize(("T", "printed"), [(100, 0.1733), (500, 0.0400), (1000, 0.0204)])
def test_the_memoryless_loss_of_copy_memory_is_the_published_one(T: int, printed: float) -> None:
    loss = TASKS["copy"].chance_score(T).loss
    assert loss == 10 * math.log(8) / (T + 20) and round(loss, 4) == printed


@pytest.mark.parametrize("name", ["anbn", "anbncn"])
def test_no_sequence_at_twice_the_distance_is_as_short_as_one_in_training(name: str) -> None:
    lengths = [{int((s == 0).sum()) for s in drawn(TASKS[name], d, 500)[0].T} for d in (6, 12)]
    assert lengths == [{4, 5, 6}, {7, 8, 9, 10, 11, 12}]


def test_no_test_sequence_has_a_seed_that_training_could_have() -> None:
    seeds = defaultdict(set)
    for purpose in SPLITS:
        for seed in range(20):
            for number in range(200):
                generator = batch_generator("copy", 10, purpose, seed, number)
                # PyTorch's generator takes no more of a seed than this.
                seeds[purpose].add(generator.initial_seed() % 2**32)
    assert {purpose: {seed % 4 for seed in found} for purpose, found in seeds.items()} == {
        "train": {0},
        "valid": {1},
        "test": {2},
    }
    # The purpose would not be enough by itself: a stream's last bits are anything.
    assert {derive_seed(0, "copy/10", number) % 4 for number in range(50)} == {0, 1, 2, 3}
    assert len(seeds["train"]) > 3990


def test_sequences_are_new_in_each_update_and_the_same_again() -> None:
    one = TASKS["copy"]
    first, again, later = (drawn(one, 10, 8, number)[0] for number in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, later)


def test_distances_go_in_steps_of_one_two_and_five() -> None:
    assert parse_distances("10..1000") == [10, 20, 50, 100, 200, 500, 1000]
    assert parse_distances("30..300") == [50, 100, 200]
    assert parse_distances("30,10,10,100") == [10, 30, 100]
    assert parse_distances("7") == [7]
    for text, said in {
        "0": "the shortest of this task is 1",
        "0..10": "the shortest of this task is 1",
        "3..4": "none of 1, 2, 5",
        "100..10": "none of 1, 2, 5",
        "ten": "a range such as",
        "10,": "a range such as",
    }.items():
        with pytest.raises(ConfigError, match=f"--distance {text}: {said}"):
            parse_distances(text)
    with pytest.raises(ConfigError, match="this task is 3"):
        parse_distances("2,5", 3)
