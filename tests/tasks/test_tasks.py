"""Synthetic memory tasks: oracles, exact chance, seeds of batches, parsing of lengths."""

import math
import re
from collections import Counter, defaultdict
from inspect import cleandoc

import pytest
import torch

from charlm.errors import ConfigError
from charlm.models.regressor import RecurrentRegressor
from charlm.seeding import derive_seed
from charlm.tasks.base import (
    IGNORE_INDEX,
    TASK_SPLITS,
    TASKS,
    Task,
    batch_generator,
    make_example,
)
from charlm.tasks.lengths import parse_lengths

SYMBOLIC = [name for name, task in TASKS.items() if task.model is not RecurrentRegressor]
DETERMINISTIC = [name for name in SYMBOLIC if TASKS[name].is_deterministic]


def sample(task: Task, length: int, batch_size: int, batch: int = 0) -> tuple[torch.Tensor, ...]:
    generator = batch_generator(task.name, length, "train", 0, batch)
    return task.sample_batch(length, batch_size, generator)


@pytest.mark.parametrize("name", [*DETERMINISTIC, "adding"])
@pytest.mark.parametrize("longer", [0, 1, 2, 9, 40])
def test_oracle_solves_sequences_from_input_alone(name: str, longer: int) -> None:
    task = TASKS[name]
    length = task.min_length + longer
    x, y, is_answer = sample(task, length, 500)
    assert x.shape[:2] == y.shape == is_answer.shape == (task.sequence_length(length), 500)
    assert (y != IGNORE_INDEX)[is_answer].all() and is_answer.any(0).all()
    for stream_x, stream_y in zip(x.unbind(1), y.unbind(1), strict=True):
        assert task.solve(stream_x.tolist()) == pytest.approx(stream_y.tolist(), abs=1e-5)


@pytest.mark.parametrize("name", SYMBOLIC)
def test_docstring_example_follows_task_rule(name: str) -> None:
    task = TASKS[name]
    *_, example = re.split(r"\n\s*\n", cleandoc(type(task).__doc__ or ""))
    x, y = (symbols_of(task, line[4:]) for line in example.splitlines())
    assert task.solve(x) == y + [IGNORE_INDEX] * (len(x) - len(y))


def symbols_of(task: Task, line: str) -> list[int]:
    """Return the tokens of a line; symbols of several letters have a blank between them."""
    width = len(task.symbol_names[0])
    names = [
        line[start : start + width]
        for start in range(0, len(line), width + (1 if width > 1 else 0))
    ]
    return [list(task.symbol_names).index(name) if name.strip() else IGNORE_INDEX for name in names]


def test_documentation_has_every_section() -> None:
    for name, task in TASKS.items():
        assert task.documentation.name == name and task.documentation.summary.endswith(".")
        assert task.documentation.length and task.documentation.source


def test_dyck_brackets_match_by_crossing_out_pairs() -> None:
    task = TASKS["dyck"]
    x, y, is_answer = sample(task, 31, 300)
    spans, max_depth = Counter[int](), 0
    for stream in range(300):
        depth = 0
        for token in x[:, stream].tolist():
            depth += -1 if token == 4 else 1
            max_depth = max(max_depth, depth)
        remaining = list(enumerate(x[:, stream].tolist()))
        while remaining:
            first = next(i for i, (_, token) in enumerate(remaining) if token == 4)
            (opened, kind), (closed, _) = remaining[first - 1 : first + 1]
            assert y[closed, stream] == kind
            if is_answer[closed, stream]:
                spans[closed - opened] += 1
            del remaining[first - 1 : first + 1]
    assert max_depth == 4
    assert set(spans) == set(range(1, 32, 2)) and max(spans.values()) < 40  # 300 among 16


@pytest.mark.parametrize("name", SYMBOLIC)
@pytest.mark.parametrize("longer", [2, 7])
def test_chance_is_best_guess_without_memory(name: str, longer: int) -> None:
    """Guesses are learned per time step from 20,000 sequences and tried on as many others."""
    task = TASKS[name]
    length = task.min_length + longer
    _, seen, _ = sample(task, length, 20_000)
    _, y, is_answer = sample(task, length, 20_000, 1)
    counts = torch.stack([(seen == token).sum(1) for token in range(task.input_size)], 1).double()
    fractions = (counts + 1e-9) / (counts + 1e-9).sum(1, keepdim=True)
    times = torch.arange(len(y))[:, None].expand_as(y)
    is_scored = y != IGNORE_INDEX
    loss = -fractions[times[is_scored], y[is_scored]].log().mean().item()
    chance = task.chance_score(length)
    assert loss == pytest.approx(chance.loss, abs=0.01)
    if task.score_whole_sequence:  # the best guess is one of the most frequent sequences
        sequences = Counter(tuple(sequence) for sequence in seen.T.tolist())
        guess = torch.tensor(sequences.most_common(1)[0][0])[:, None]
        accuracy = ((guess == y) | ~is_answer).all(0).double().mean().item()
    else:
        accuracy = (fractions.argmax(1)[:, None] == y)[is_answer].double().mean().item()
    assert accuracy == pytest.approx(chance.accuracy, abs=0.02)


@pytest.mark.parametrize("name", SYMBOLIC)
def test_chance_loses_beside_answers_only_with_auxiliary_targets(name: str) -> None:
    task = TASKS[name]
    _, y, is_answer = sample(task, task.min_length + 7, 500)
    others = y.where(~is_answer, IGNORE_INDEX)
    is_known = all(len({int(target) for target in time} - {IGNORE_INDEX}) < 2 for time in others)
    assert is_known != task.has_auxiliary_targets


@pytest.mark.parametrize("length", [2, 9])
def test_adding_chance_is_score_of_mean(length: int) -> None:
    task = TASKS["adding"]
    x, y, is_answer = sample(task, length, 50_000)
    assert y[is_answer].mean().item() == pytest.approx(1, abs=0.01)
    guess = torch.ones_like(y)
    assert (guess - y)[is_answer].square().mean().item() == pytest.approx(1 / 6, abs=0.003)
    assert task.chance_score(length).loss == 1 / 6
    accuracy = task.is_correct(guess, y)[is_answer].double().mean().item()
    assert accuracy == pytest.approx(task.chance_score(length).accuracy, abs=0.005)
    marks = x[..., 1]
    assert (marks[: length // 2].sum(0) == 1).all() and (marks[length // 2 :].sum(0) == 1).all()


@pytest.mark.parametrize(("T", "published"), [(100, 0.1733), (500, 0.0400), (1000, 0.0204)])
def test_copy_chance_loss_is_published_one(T: int, published: float) -> None:
    loss = TASKS["copy"].chance_score(T + 9).loss
    assert loss == 10 * math.log(8) / (T + 20) and round(loss, 4) == published


@pytest.mark.parametrize("name", ["anbn", "anbncn"])
def test_counting_at_double_length_is_longer_than_training(name: str) -> None:
    repeats = [
        {int((stream == 0).sum()) for stream in sample(TASKS[name], length, 500)[0].T}
        for length in (6, 12)
    ]
    assert repeats == [{4, 5, 6}, {7, 8, 9, 10, 11, 12}]


def test_test_batches_never_share_seeds_with_training() -> None:
    seeds = defaultdict(set)
    for split in TASK_SPLITS:
        for seed in range(20):
            for batch in range(200):
                generator = batch_generator("copy", 10, split, seed, batch)
                # PyTorch's generator uses no more bits of a seed than these.
                seeds[split].add(generator.initial_seed() % 2**32)
    remainders = {split: {seed % 4 for seed in split_seeds} for split, split_seeds in seeds.items()}
    assert remainders == {"train": {0}, "valid": {1}, "test": {2}}
    # Without the split they could be: the last bits of a derived seed are arbitrary.
    assert {derive_seed(0, "copy/10", batch) % 4 for batch in range(50)} == {0, 1, 2, 3}
    assert len(seeds["train"]) > 3990


def test_batches_differ_by_number_and_repeat_exactly() -> None:
    task = TASKS["copy"]
    first, repeated, next_batch = (sample(task, 10, 8, batch)[0] for batch in (0, 0, 1))
    assert torch.equal(first, repeated) and not torch.equal(first, next_batch)


def test_lengths_go_in_steps_of_one_two_five() -> None:
    assert parse_lengths("10..1000") == [10, 20, 50, 100, 200, 500, 1000]
    assert parse_lengths("30..300") == [50, 100, 200]
    assert parse_lengths("30,10,10,100") == [10, 30, 100]
    assert parse_lengths("7") == [7]


@pytest.mark.parametrize(
    ("text", "problem"),
    {
        "0": "the smallest length of this task is 1",
        "0..10": "the smallest length of this task is 1",
        "3..4": "it contains none of 1, 2, 5",
        "100..10": "it ends before it begins. Try one such as 10..1000",
        "ten": "it is neither a range nor a list",
        "10,": "it is neither a range nor a list",
    }.items(),
)
def test_bad_lengths_are_refused(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot use --lengths {text}: {problem}"):
        parse_lengths(text)


def test_lengths_below_task_minimum_are_refused() -> None:
    with pytest.raises(ConfigError, match="this task is 3"):
        parse_lengths("2,5", 3)


def test_example_answers_are_those_of_oracle() -> None:
    example = make_example(TASKS["copy"], 8)
    assert example.y == TASKS["copy"].solve(example.x) and sum(example.is_answer) == 8
    with pytest.raises(ConfigError, match="cannot use --length 1: the smallest length"):
        make_example(TASKS["adding"], 1)


@pytest.mark.parametrize(("length", "symbols"), [(1, 1), (3, 3), (10, 10), (50, 10)])
def test_copy_climbs_symbols_before_blanks(length: int, symbols: int) -> None:
    x, y, is_answer = sample(TASKS["copy"], length, 20)
    assert is_answer.sum(0).tolist() == [symbols] * 20
    assert torch.equal(y[-symbols:], x[:symbols])  # each is due length + 1 characters later
    assert len(x) == symbols + length + 1


@pytest.mark.parametrize("length", [1, 6, 40])
def test_no_fixed_delay_solves_induction(length: int) -> None:
    x, y, is_answer = sample(TASKS["induction"], length, 2000)
    times = torch.arange(len(x))[:, None]
    for delay in range(len(x)):
        copied = x[(times - delay).clamp(min=0).squeeze(1)]
        assert (copied == y)[is_answer].double().mean() < 0.5
    gaps = {int((stream[:-4] < 16).nonzero().max()) for stream in x.T}
    assert len(gaps) == length - (length + 1) // 2 + 1
    for string in (stream[stream < 16][:8] for stream in x.T):
        assert len(set(string.tolist())) == 8


def test_induction_is_solved_by_content() -> None:
    task = TASKS["induction"]
    x, y, _ = sample(task, 9, 200)
    other = x.clone()
    for stream in range(200):
        string = [letter for letter in x[:-4, stream].tolist() if letter < 16]
        start = string.index(int(x[-4, stream]))
        other[-4:, stream] = torch.tensor(string[3 - start : 7 - start])
    solved = torch.tensor([task.solve(stream.tolist()) for stream in other.T]).T
    mirrored = other[-4:] == x[-4:]
    assert (solved == y)[-4:][~mirrored].double().mean() < 0.2


def test_naming_any_value_that_was_read_is_better_than_chance() -> None:
    task = TASKS["associative-recall"]
    x, y, is_answer = sample(task, 5, 20_000)
    guess = x[1].expand_as(y)  # always the first value
    accuracy = (guess == y)[is_answer].double().mean().item()
    assert task.unbound_accuracy(5) == pytest.approx(accuracy, abs=0.01)
    assert task.unbound_accuracy(5) == pytest.approx(0.344, abs=0.001)
    assert TASKS["copy"].unbound_accuracy(5) is None


def test_naming_a_fixed_place_of_the_string_is_better_than_chance() -> None:
    task = TASKS["induction"]
    x, y, is_answer = sample(task, 9, 5_000)
    strings = x.T[x.T < 16].reshape(5_000, 12).T[:8]
    for place in (4, 5, 6, 7):
        right = (strings[place] == y[place - 8]).double().mean().item()
        assert task.unbound_accuracy(5) == pytest.approx(right, abs=0.03)
    assert is_answer.sum() == 4 * 5_000
