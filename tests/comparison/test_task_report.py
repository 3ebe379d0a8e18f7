"""Reports of comparisons on a task: seeds, Wilson intervals, medians and order of rows."""

import math
from pathlib import Path

import msgspec
import pytest

from charlm.comparison.task_plan import (
    TaskComparisonPlan,
    TaskComparisonRequest,
    plan_task_comparison,
)
from charlm.comparison.task_report import (
    build_task_report,
    build_task_timing,
    compare_survival,
    fisher_p,
    summarize_cell,
    summarize_level,
)
from charlm.execution.executor import Execution, LocalExecutor
from charlm.results.tasks import LevelResult, PositionScore, TaskRow, TaskScore
from charlm.storage.json_files import seal_json
from charlm.tasks.base import TASKS


def make_level(length: int, accuracy: float | None, steps: int = 0) -> LevelResult:
    return LevelResult(
        length=length,
        is_solved=accuracy is not None and accuracy >= 0.99,
        steps=steps or 100 * length,
        seconds=1.0,
        kernel="loop",
        chance=TaskScore(1.0, 0.5),
        test=None if accuracy is None else TaskScore(0.1, accuracy),
        extrapolation={} if accuracy is None else {"2": accuracy / 2, "4": accuracy / 4},
        divergence="the loss is nan" if accuracy is None else "",
    )


def test_seed_that_stopped_below_has_not_solved_level() -> None:
    results = [
        [make_level(1, 1.0), make_level(2, 1.0)],
        [make_level(1, 1.0), make_level(2, None)],
        [make_level(1, 0.5)],
    ]
    first, second = (summarize_level(length, results, TASKS["copy"]) for length in (1, 2))
    assert (first.num_survived, first.num_seeds) == (2, 3)
    assert (first.num_attempted, first.num_diverged) == (3, 0)
    assert (second.num_survived, second.num_seeds) == (1, 3)
    assert (second.num_attempted, second.num_diverged) == (2, 1)
    assert second.accuracy == (1.0, None, None) and second.steps == (200, None, None)
    assert first.extrapolation == {"2": (0.5, 0.5, 0.25), "4": (0.25, 0.25, 0.125)}
    # Wilson (1927): (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
    z, n, p = 1.959963984540054, 3, 2 / 3
    middle, half = p + z * z / 2 / n, z * math.sqrt(p * (1 - p) / n + z * z / 4 / n**2)
    wilson = [(middle + sign * half) / (1 + z * z / n) for sign in (-1, 1)]
    assert [first.ci_low, first.ci_high] == pytest.approx(wilson)


def test_measures_and_positions_have_a_value_for_each_seed() -> None:
    def scores(accuracy: float) -> tuple[PositionScore, ...]:
        return tuple(
            PositionScore(
                position=end, loss=1.5, oracle_loss=1.25, accuracy=accuracy, correct_so_far=0.0
            )
            for end in (1, 2, 5)
        )

    measured = msgspec.structs.replace(
        make_level(1, 1.0), measures={"excess": 0.25, "learned": 0.5}, by_position=scores(0.75)
    )
    results = [[measured], [], [make_level(1, None)]]
    level = summarize_level(1, results, TASKS["markov"])
    assert level.measures == {"excess": (0.25, None, None), "learned": (0.5, None, None)}
    assert [each.position for each in level.by_position] == [1, 2, 5]
    assert level.by_position[1].accuracy == (0.75, None, None)
    assert level.by_position[1].excess_loss == (0.25, None, None)
    assert summarize_level(2, results, TASKS["markov"]).by_position == ()
    tests = summarize_level(1, [[]], TASKS["word-problem-z2"])
    assert tests.extrapolation.keys() == {"2", "4", "8", "16"}


def test_divergence_beyond_training_length_is_no_diverged_seed() -> None:
    level = msgspec.structs.replace(make_level(3, 1.0), divergence="the loss at length 6 is inf")
    assert summarize_level(3, [[level]], TASKS["copy"]).num_diverged == 0


def plan(directory: Path, *cells: str) -> TaskComparisonPlan:
    request = TaskComparisonRequest(
        task="copy",
        lengths=(10, 20),
        cells=cells,
        settings={"embedding_dim": 8},
        params=20_000,
        seeds=2,
    )
    return plan_task_comparison(request, Execution(directory, LocalExecutor(1, "cpu")))


def save(directory: Path, *levels: LevelResult) -> None:
    directory.mkdir(parents=True)
    for level in levels:
        (directory / f"length-{level.length}.json").write_bytes(seal_json(level))


def test_median_of_even_seeds_is_length_of_curriculum(tmp_path: Path) -> None:
    curricula = plan(tmp_path, "gru").curricula
    for curriculum, accuracy in zip(curricula, (1.0, 0.5), strict=True):
        save(curriculum.path, make_level(10, accuracy))
    row = summarize_cell("gru", curricula, 0.0)
    assert (row.max_solved_length, row.max_solved_length_per_seed) == (0, (10, 0))


def test_rows_are_ordered_by_longest_solved_length(tmp_path: Path) -> None:
    planned = plan(tmp_path, "rnn", "gru")
    for cell, accuracy in (("rnn", 0.5), ("gru", 1.0)):
        for curriculum in planned.by_cell[cell]:
            save(curriculum.path, make_level(10, accuracy), make_level(20, 0.5))
    report = build_task_report(planned)
    assert [(row.name, row.max_solved_length) for row in report.rows] == [("gru", 10), ("rnn", 0)]
    assert report.lengths == (10, 20) and report.solved_relative_loss == 0.01
    assert [chance.length for chance in report.chance] == [10, 20]
    dicts = report.to_dicts()
    assert len(dicts) == 4 and dicts[0]["name"] == "gru" and dicts[1]["num_survived"] == 0
    timing = build_task_timing(planned, "charlm tasks compare")
    assert timing.command == "charlm tasks compare"
    assert timing.cells["gru"].minutes == pytest.approx(2 / 60)
    assert timing.cells["rnn"].minutes == pytest.approx(1 / 60)


def survivors(name: str, numbers: tuple[int, ...], seeds: int = 6) -> TaskRow:
    levels = tuple(
        summarize_level(length, [[make_level(length, 1.0)]] * n + [[]] * (seeds - n), TASKS["copy"])
        for length, n in zip((1, 2), numbers, strict=True)
    )
    return TaskRow(
        name=name,
        hidden_size=8,
        num_layers=1,
        parameters=100,
        relative_error=0.0,
        state_size=8,
        flops_per_character=10,
        learning_rate=0.01,
        seeds=tuple(range(seeds)),
        max_solved_length=0,
        max_solved_length_per_seed=(0,) * seeds,
        levels=levels,
    )


def test_survival_is_tested_at_each_length_and_corrected() -> None:
    rows = [survivors("gru", (6, 6)), survivors("rnn", (6, 0)), survivors("lstm", (6, 3))]
    pairs = {(pair.cell, pair.other): pair for pair in compare_survival(rows)}
    assert {pair.length for pair in pairs.values()} == {2}  # all seeds solve length 1
    assert len(pairs) == 3
    assert pairs["rnn", "gru"].p == pytest.approx(2 / math.comb(12, 6))
    assert pairs["rnn", "gru"].p_holm == pytest.approx(6 / math.comb(12, 6))
    assert pairs["lstm", "gru"].p_holm > 0.05


def test_three_seeds_cannot_differ() -> None:
    assert fisher_p(0, 3, 3) == pytest.approx(0.1)
    assert fisher_p(0, 6, 6) < 0.003
