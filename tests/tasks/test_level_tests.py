"""Tests at multiples of the trained length: readers of known memory, pieces, divergence."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from charlm.config import validate_config
from charlm.errors import DivergedError
from charlm.models.build import build_model
from charlm.models.recurrent import ModelState
from charlm.results.tasks import TaskScore
from charlm.tasks import level_tests, scoring
from charlm.tasks.base import TASKS, Task, TaskAnswers
from charlm.tasks.estimates import count_tested_lengths
from charlm.tasks.level_tests import run_level_tests
from charlm.tasks.scoring import answer_task, evaluate_task, position_ends

SMALL = {"hidden_size": 24, "embedding_dim": 8, "kernel": "loop", "cell": "gru"}


class TrackingModel(nn.Module):
    """Tracks a group up to a position, and then keeps the last product."""

    def __init__(self, task: Task, reach: int) -> None:
        super().__init__()
        self.task, self.reach, self.bias = task, reach, nn.Parameter(torch.zeros(1))

    def initial_state(self, batch: int) -> ModelState:
        del batch
        return ()

    def forward(self, x: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        y = torch.tensor([self.task.solve(stream.tolist()) for stream in x.unbind(1)]).T
        y[self.reach :] = y[min(self.reach, len(y)) - 1]
        return 40.0 * nn.functional.one_hot(y, self.task.input_size).double(), state

    def loss_fn(self, predictions: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(predictions.flatten(0, 1), y.flatten())


@pytest.fixture(autouse=True)
def few_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(level_tests, "TEST_SEQUENCES", 128)


def run(model: nn.Module, task: Task, length: int) -> level_tests.LevelTests:
    return run_level_tests(model, task, length)  # type: ignore[arg-type]


def test_tracking_ends_at_reach_of_model() -> None:
    task = TASKS["word-problem-a5"]
    tests = run(TrackingModel(task, 10), task, 5)
    assert tests.test and tests.test.accuracy == 1.0
    assert tests.test.loss == pytest.approx(0.0, abs=1e-9)
    assert tests.extrapolation.keys() == {"2", "4", "8", "16"}
    assert tests.extrapolation["2"] == 1.0 and tests.extrapolation["16"] < 0.1
    assert tests.measures == {"tracked": 10.0, "sequence_accuracy": 1.0}
    by_position = {score.position: score for score in tests.by_position}
    assert list(by_position) == [1, 2, 5, 10, 20, 50, 80]
    assert by_position[10].accuracy == by_position[10].correct_so_far == 1.0
    # The 11th product is as before once in 60, the later ones by chance.
    assert by_position[20].accuracy < 0.1 and by_position[20].correct_so_far == 0.0
    assert by_position[5].loss == pytest.approx(0.0, abs=1e-9) and by_position[80].loss > 30


def test_position_intervals_end_with_the_sequence() -> None:
    assert position_ends(1) == [1] and position_ends(2) == [1, 2]
    assert position_ends(30) == [1, 2, 5, 10, 20, 30]


@pytest.mark.parametrize("name", ["word-problem-s3", "copy", "adding", "flip-flop"])
def test_reading_in_pieces_does_not_change_the_score(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = TASKS[name]
    model = build_model(task.model, validate_config(SMALL), task.input_size, "loop", "cpu")
    whole = answer_task(model, task, 20, "test", 64)
    monkeypatch.setattr(scoring, "EVAL_STEPS", 7)
    pieces = answer_task(model, task, 20, "test", 64)
    assert pieces.score.accuracy == whole.score.accuracy
    assert pieces.score.loss == pytest.approx(whole.score.loss, rel=1e-5)
    assert (pieces.positions is None) == (name != "word-problem-s3")
    if pieces.positions and whole.positions:
        assert torch.allclose(pieces.positions.loss, whole.positions.loss, rtol=1e-5)


def test_lengths_beyond_the_largest_are_not_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(level_tests, "TEST_SEQUENCES", 64)
    task = TASKS["recall-pairs"]
    model = build_model(task.model, validate_config(SMALL), task.input_size, "loop", "cpu")
    assert run(model, task, 32).extrapolation.keys() == {"2"}
    assert run(model, task, 33).extrapolation == {}
    measured = run(model, TASKS["recall-overwriting"], 2).measures
    assert measured.keys() == {"stale", "other_errors"} and sum(measured.values()) > 0.8


def test_measures_are_left_out_where_a_test_diverges(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(model: Any, task: Task, *arguments: Any, **options: Any) -> TaskAnswers:
        if task.name == "flip-flop-sparse":
            raise DivergedError("the loss at length 5 is nan")
        return TaskAnswers(TaskScore(0.1, 0.9))

    monkeypatch.setattr(level_tests, "answer_task", answer)
    tests = run(nn.Identity(), TASKS["flip-flop"], 5)
    assert tests.measures == {} and tests.extrapolation == {"2": 0.9, "4": 0.9}
    assert tests.divergence == "the loss at length 5 is nan"


@pytest.mark.parametrize(
    ("name", "length", "lengths"),
    [("copy", 20, (31 + 51 + 91) / 31), ("word-problem-s5", 9, 31.0), ("flip-flop", 8, 9.0)]
    + [("recall-pairs", 32, 3.0), ("formal-parity", 40, 1 + 256 / 40)],
)
def test_time_of_tests_counts_their_steps(name: str, length: int, lengths: float) -> None:
    assert count_tested_lengths(TASKS[name], length) == pytest.approx(lengths)


def test_each_task_has_measures_as_declared() -> None:
    for name, task in TASKS.items():
        if task.measures and task.is_deterministic:
            model = build_model(task.model, validate_config(SMALL), task.input_size, "loop", "cpu")
            tests = run(model, task, 6)
            assert tests.measures.keys() == {measure.name for measure in task.measures}, name
            assert evaluate_task(model, task, 6, "test", 128) == tests.test
