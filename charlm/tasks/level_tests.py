"""Tests of a model that was trained at a length: there, at multiples, and on variants."""

from typing import NamedTuple

from charlm.errors import DivergedError
from charlm.models.recurrent import RecurrentModel
from charlm.results.tasks import PERFECT, PositionScore, TaskScore
from charlm.tasks.base import Task, TaskAnswers
from charlm.tasks.scoring import (
    TEST_SEQUENCES,
    answer_optimally,
    answer_task,
    score_oracle,
    score_positions,
)


class LevelTests(NamedTuple):
    """Results of all tests at a length."""

    test: TaskScore | None = None  # None if the loss there is not finite
    oracle: TaskScore = PERFECT
    extrapolation: dict[str, float] = {}  # multiple of the length -> accuracy
    measures: dict[str, float] = {}
    by_position: tuple[PositionScore, ...] = ()
    divergence: str = ""  # reason


def run_level_tests(model: RecurrentModel, task: Task, length: int) -> LevelTests:
    """Test a model at the length that it was trained at, at multiples of it, and on variants.

    Where the loss at a multiple is not finite, the accuracy is 0; then there are no measures.
    """
    answers: dict[str, TaskAnswers] = {}
    try:
        answers["1"] = answer_task(
            model, task, length, "test", TEST_SEQUENCES, keep_batches=bool(task.measures)
        )
    except DivergedError as error:
        return LevelTests(divergence=str(error))
    tests = {str(factor): (task, factor * length) for factor in task.multiples(length)}
    tests |= {name: (variant, length) for name, variant in task.variants().items()}
    divergence = ""
    for name, (variant, tested_length) in tests.items():
        try:
            answers[name] = answer_task(model, variant, tested_length, "test", TEST_SEQUENCES)
        except DivergedError as error:
            answers[name], divergence = TaskAnswers(TaskScore(0.0, 0.0)), str(error)
    oracle = score_oracle(task, length, "test", TEST_SEQUENCES)
    multiples = [str(factor) for factor in task.multiples(length)]
    longest = int(["1", *multiples][-1])
    return LevelTests(
        test=answers["1"].score,
        oracle=oracle,
        extrapolation={factor: answers[factor].score.accuracy for factor in multiples},
        measures={} if divergence else task.measure(length, answers, oracle),
        by_position=_score_positions(task, longest * length, answers[str(longest)]),
        divergence=divergence,
    )


def _score_positions(task: Task, length: int, answers: TaskAnswers) -> tuple[PositionScore, ...]:
    if answers.positions is None:
        return ()
    if task.is_deterministic:
        return score_positions(answers.positions, None)
    oracle = answer_optimally(task, length, "test", TEST_SEQUENCES)
    return score_positions(answers.positions, oracle.positions)
