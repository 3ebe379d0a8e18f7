"""Plans of comparisons on a task: sizes, directories, commands and progress of curricula."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from charlm.comparison.budget_matching import match_budget
from charlm.comparison.curricula import PlannedCurriculum, plan_curricula
from charlm.comparison.request import base_settings
from charlm.comparison.task_plan import TaskComparisonRequest, plan_task_comparison
from charlm.config import DEFAULT_MAX_STEPS
from charlm.errors import ConfigError
from charlm.execution.executor import Execution, LocalExecutor
from charlm.models.build import build_model
from charlm.results.jobs import JobProgress
from charlm.results.tasks import LevelResult, TaskScore, TaskValidation
from charlm.storage.json_files import seal_json
from charlm.tasks.base import TASKS


@pytest.mark.parametrize("task", ["copy", "adding"])
def test_plan_matches_parameters_of_task_model(task: str, tmp_path: Path) -> None:
    model_class, input_size = TASKS[task].model, TASKS[task].input_size
    settings = base_settings({"embedding_dim": 8, "max_steps": DEFAULT_MAX_STEPS})
    match = match_budget(
        settings, ["gru", "lstm", "sru"], 20_000, input_size, model_class=model_class
    )

    def plan(**changed: Any) -> list[PlannedCurriculum]:
        arguments = {"match": match, "seeds": 2, "task": task, "lengths": [10, 20]}
        arguments |= {"settings": settings, "directory": tmp_path}
        return plan_curricula(**{**arguments, **changed})

    for curriculum in plan():
        model = build_model(model_class, curriculum.config, input_size, "loop", "cpu")
        assert sum(p.numel() for p in model.parameters()) == curriculum.parameters
        assert abs(curriculum.parameters - 20_000) <= 200
    paths = {curriculum.path for curriculum in plan()}
    assert len(paths) == 6
    assert {curriculum.path for curriculum in plan(lengths=[10, 20, 50])} == paths
    assert {curriculum.path for curriculum in plan(seeds=3)} > paths
    assert not {c.path for c in plan(settings={**settings, "max_steps": 9})} & paths
    assert not {curriculum.path for curriculum in plan(task="parity")} & paths


def small_plan(directory: Path, **request: Any) -> Any:
    settings = {"embedding_dim": 8, "max_steps": 100}
    return plan_task_comparison(
        TaskComparisonRequest(
            task="copy",
            **{"lengths": (10, 20), "settings": settings, "params": 20_000, "seeds": 2, **request},
        ),
        Execution(directory, LocalExecutor(1, "cpu")),
    )


def test_plan_orders_seeds_before_cells(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, cells=("rnn", "gru"))
    assert [(c.config.cell, c.config.seed) for c in plan.curricula] == [
        ("rnn", 0),
        ("gru", 0),
        ("rnn", 1),
        ("gru", 1),
    ]
    assert [curriculum.job.name for curriculum in plan.by_cell["gru"]] == [
        "gru seed 0",
        "gru seed 1",
    ]
    assert (
        len(plan.bracket) == 6
        and plan.overview(Execution(tmp_path, LocalExecutor(1, "cpu"))).bracket == 6
    )
    assert len({curriculum.job.name for curriculum in plan.bracket}) == 6
    assert not small_plan(tmp_path, settings={"learning_rate": 0.01, "embedding_dim": 8}).bracket
    argv = plan.curricula[0].job.argv
    assert argv[:5] == ["tasks", "train", "copy", "--lengths", "10,20"]
    assert argv[5:7] == ["--run", str(plan.curricula[0].path)] and "--seq-len=64" not in argv


def test_overview_lists_sizes_and_budget(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, cells=("rnn", "gru"))
    overview = plan.overview(Execution(tmp_path, LocalExecutor(3, "cpu")))
    assert [entry.name for entry in overview.entries] == ["rnn", "gru"]
    assert (overview.task, overview.lengths, overview.curricula) == ("copy", (10, 20), 4)
    assert (overview.parallel_runs, overview.device) == (3, "cpu")
    assert overview.matching.max_steps == 100 and overview.matching.measure == "params"


def test_progress_reads_directory_of_curriculum(tmp_path: Path) -> None:
    (curriculum,) = small_plan(tmp_path, cells=("gru",), seeds=1).curricula
    assert curriculum.progress() == JobProgress(total=200, length=10)
    curriculum.path.mkdir(parents=True)
    log = curriculum.path / "length-10.jsonl"
    log.write_bytes(msgspec.json.encode(TaskValidation(50, 1.0, 2.0, 0.25)) + b'\n{"step":60')
    assert curriculum.progress() == JobProgress(done=50, total=200, length=10, accuracy=0.25)
    level = LevelResult(
        length=10,
        is_solved=True,
        steps=60,
        seconds=1.0,
        kernel="loop",
        chance=TaskScore(1.0, 0.5),
        test=TaskScore(0.0, 1.0),
        extrapolation={},
    )
    (curriculum.path / "length-10.json").write_bytes(seal_json(level))
    assert curriculum.progress() == JobProgress(done=100, total=200, length=20)
    failed = msgspec.structs.replace(level, length=20, is_solved=False)
    (curriculum.path / "length-20.json").write_bytes(seal_json(failed))
    assert curriculum.progress() == JobProgress("finished", 200, 200)


def test_each_cell_has_the_rate_that_got_furthest(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, cells=("rnn", "gru"))
    recipe = {c.config.cell: c.config.learning_rate for c in plan.curricula}
    assert recipe["gru"] != recipe["rnn"]
    for curriculum in plan.bracket:
        assert curriculum.config.seed not in {c.config.seed for c in plan.curricula}
        factor = curriculum.config.learning_rate / recipe[curriculum.config.cell]
        steps = 60 if curriculum.config.cell == "gru" and factor > 1.5 else 90
        level = LevelResult(
            length=10,
            is_solved=True,
            steps=steps,
            seconds=1.0,
            kernel="loop",
            chance=TaskScore(1.0, 0.5),
            test=TaskScore(0.0, 1.0),
            extrapolation={},
        )
        failed = msgspec.structs.replace(level, length=20, is_solved=False)
        curriculum.path.mkdir(parents=True)
        (curriculum.path / "length-10.json").write_bytes(seal_json(level))
        (curriculum.path / "length-20.json").write_bytes(seal_json(failed))
    chosen = plan.with_chosen_rates()
    rates = {c.config.cell: c.config.learning_rate for c in chosen.curricula}
    assert rates == {"gru": pytest.approx(2 * recipe["gru"], rel=0.01), "rnn": recipe["rnn"]}
    assert {c.path for c in chosen.by_cell["rnn"]} == {c.path for c in plan.by_cell["rnn"]}
    assert not {c.path for c in chosen.by_cell["gru"]} & {c.path for c in plan.by_cell["gru"]}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"task": "cpoy"}, "did you mean copy?"),
        ({"lengths": ()}, "cannot compare at no length"),
        ({"lengths": (0,)}, "the smallest length of this task is 1"),
        ({"cells": ()}, "no cells"),
        ({"settings": {"seq_len": 9}}, "cannot use --seq-len in a comparison on a task"),
        ({"settings": {"hidden_size": 9}}, "cannot use --hidden-size"),
        ({"settings": {"tie_weights": True, "embedding_dim": 8}}, "--embedding-dim"),
    ],
)
def test_impossible_requests_are_refused(changed: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        TaskComparisonRequest(**{"task": "copy", "lengths": (5,), **changed})
