"""Scores of models on tasks: oracles, wrong answers, auxiliary targets, the solved criterion."""

import pytest
import torch
from torch import Tensor, nn

from charlm.config import validate_config
from charlm.models.recurrent import ModelState
from charlm.results.tasks import TaskScore
from charlm.tasks.base import IGNORE_INDEX, TASKS, Task
from charlm.tasks.scoring import evaluate_task, is_solved

SMALL = {"hidden_size": 24, "embedding_dim": 8, "kernel": "loop"}


class OracleModel(nn.Module):
    """Predicts what the oracle does; if `is_wrong`, half of the last answers are wrong."""

    def __init__(self, task: Task, is_wrong: bool) -> None:
        super().__init__()
        self.task, self.is_wrong = task, is_wrong
        self.bias = nn.Parameter(torch.zeros(1))

    def initial_state(self, batch: int) -> ModelState:
        del batch
        return ()

    def forward(self, x: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        del state
        y = torch.tensor([self.task.solve(stream.tolist()) for stream in x.unbind(1)]).T
        if self.is_wrong:
            for stream in y.T[::2]:
                last = (stream != IGNORE_INDEX).nonzero().max()
                stream[last] = (stream[last] + 1) % self.task.input_size
        if self.task.name == "adding":
            return y, ()
        return 40.0 * nn.functional.one_hot(y.clamp(min=0), self.task.input_size).float(), ()

    def loss_fn(self, predictions: Tensor, y: Tensor) -> Tensor:
        model = self.task.model(validate_config(SMALL), self.task.input_size, "loop", "cpu")
        loss: Tensor = model.loss_fn(predictions, y)
        return loss


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.is_deterministic])
def test_oracle_has_zero_loss_and_full_accuracy(name: str) -> None:
    score = evaluate_task(OracleModel(TASKS[name], False), TASKS[name], 6, "test", 64)  # type: ignore[arg-type]
    assert score.accuracy == 1 and score.loss == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "accuracy"),
    [("copy", 0.9), ("associative-recall", 0.875), ("parity", 0.5), ("anbn", 0.5)]
    + [("anbncn", 0.5), ("adding", 0.5), ("induction", 0.875)],
)
def test_one_wrong_answer_costs_its_share_of_accuracy(name: str, accuracy: float) -> None:
    """In copy it is one of five answers, in parity the only one, in anbn a whole sequence."""
    score = evaluate_task(OracleModel(TASKS[name], True), TASKS[name], 5, "test", 64)  # type: ignore[arg-type]
    assert score.accuracy == pytest.approx(accuracy) and score.loss > 0


def test_solved_is_99_percent_correct_or_one_percent_loss() -> None:
    chance = TaskScore(2.0, 0.1)
    for task in (TASKS["copy"], TASKS["dyck"]):
        assert is_solved(task, TaskScore(1.0, 0.99), chance)
        assert not is_solved(task, TaskScore(1.0, 0.989), chance)
    assert is_solved(TASKS["copy"], TaskScore(0.02, 0.5), chance)
    assert not is_solved(TASKS["copy"], TaskScore(0.0201, 0.5), chance)
    for score, solved in ((TaskScore(1.0, 0.995), True), (TaskScore(1.0, 0.994), False)):
        assert is_solved(TASKS["copy"], score, chance, tolerance=0.5) == solved
    assert is_solved(TASKS["copy"], TaskScore(0.01, 0.5), chance, tolerance=0.5)
    assert not is_solved(TASKS["copy"], TaskScore(0.011, 0.5), chance, tolerance=0.5)


class ForgetfulModel(OracleModel):
    """Knows the answers that depend on at most the last `reach` characters; guesses others."""

    def __init__(self, task: Task, reach: int) -> None:
        super().__init__(task, False)
        self.reach = reach

    def forward(self, x: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        predictions, _ = super().forward(x, state)
        for stream, tokens in enumerate(x.T.tolist()):
            open_brackets: list[int] = []
            for time, token in enumerate(tokens):
                first = 0  # token that must be known: in parity, all of them
                if self.task.name == "dyck":
                    if token < 4:
                        open_brackets.append(time)
                        continue
                    first = open_brackets.pop()
                if time - first > self.reach:
                    predictions[time, stream] = 0
        return predictions, ()


@pytest.mark.parametrize(("name", "length", "reach"), [("dyck", 200, 63), ("parity", 200, 198)])
def test_auxiliary_targets_do_not_offset_wrong_answers(name: str, length: int, reach: int) -> None:
    """Most brackets close at once, and most parities are of fewer bits."""
    task = TASKS[name]
    score = evaluate_task(ForgetfulModel(task, reach), task, length, "test", 64)  # type: ignore[arg-type]
    assert score.accuracy < 0.7 and score.loss < 0.01 * task.chance_score(length).loss
    assert not is_solved(task, score, task.chance_score(length))
