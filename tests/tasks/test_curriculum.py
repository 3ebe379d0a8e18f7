"""Curricula by length: training, testing, the solved criterion, records, and continuation."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from charlm.cells.base import CELLS
from charlm.config import Config, option_metadata, validate_config
from charlm.errors import (
    ConfigError,
    DivergedError,
    InsufficientMemoryError,
    Interrupted,
    OutputExistsError,
)
from charlm.models.build import build_model
from charlm.progress import NoProgress
from charlm.results.tasks import CurriculumReport, LevelResult, TaskScore
from charlm.storage.json_files import seal_json
from charlm.tasks import curriculum, level_tests
from charlm.tasks.base import TASKS, Task, TaskAnswers
from charlm.tasks.curriculum import (
    train_curriculum,
    train_level,
    train_on_task,
)
from charlm.tasks.curriculum_files import initialize_curriculum_dir, is_finished, load_level_results
from charlm.tasks.level_tests import LevelTests
from charlm.training.trainer import Trainer

SMALL = {
    "hidden_size": 24,
    "embedding_dim": 8,
    "batch_size": 32,
    "learning_rate": 0.02,
    "grad_clip": 1.0,
    "kernel": "loop",
}


def make_trainer(task: Task, length: int, **settings: Any) -> Trainer[Any]:
    config = validate_config({**SMALL, "seq_len": task.sequence_length(length), **settings})
    model = build_model(task.model, config, task.input_size, "loop", "cpu")
    return Trainer(model, config, config.max_steps)


def ignore(steps: int) -> None:
    """Show no progress."""


FAST_CELLS = {"rnn", "gru", "lstm", "lru", "minlstm"}
EASY_TASKS = [
    pytest.param(cell, name, length, marks=() if cell in FAST_CELLS else pytest.mark.slow)
    for cell in CELLS
    for name, length in (("adding", 2), ("dyck", 3))
]


@pytest.mark.parametrize(("cell", "name", "length"), EASY_TASKS)
def test_every_cell_learns_easy_task(cell: str, name: str, length: int) -> None:
    task = TASKS[name]
    trainer = make_trainer(task, length, cell=cell, max_steps=150, eval_every=10)
    *_, validation = train_on_task(task, trainer, length, ignore)
    assert validation.loss < 0.5 * task.chance_score(length).loss


def test_training_stops_after_two_solved_validations(monkeypatch: Any) -> None:
    accuracies = iter([0.994, 1.0, 0.99, 0.995, 1.0, 1.0])  # a solved length has 0.99
    monkeypatch.setattr(curriculum, "evaluate_task", lambda *_: TaskScore(1.0, next(accuracies)))
    trainer = make_trainer(TASKS["parity"], 3, max_steps=100, eval_every=2)
    validations = list(train_on_task(TASKS["parity"], trainer, 3, ignore))
    assert [validation.step for validation in validations] == [2, 4, 6, 8, 10]
    assert trainer.step == 10


def test_each_length_trains_new_weights_on_own_sequences(tmp_path: Path) -> None:
    """So a result repeats exactly and does not depend on the lengths before it."""
    task, config = TASKS["adding"], validate_config({**SMALL, "cell": "gru", "max_steps": 60})

    def test_score(length: int) -> TaskScore | None:
        return train_level(tmp_path, task, config, length, "cpu", ignore).test

    first = test_score(3)
    other = test_score(4)
    (tmp_path / "length-3.jsonl").write_text('{"step":999}\n')  # of a killed process
    assert test_score(3) == first != other
    lines = (tmp_path / "length-3.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [50]


@pytest.mark.slow  # chrono on the meta device loads torch._dynamo
def test_chrono_bias_uses_sequence_length(tmp_path: Path, monkeypatch: Any) -> None:
    """--forget-bias chrono depends on seq_len, which is the length of a sequence here."""
    lengths = []

    def build(model_class: Any, config: Config, *arguments: Any) -> Any:
        lengths.append(config.seq_len)
        return build_model(model_class, config, *arguments)

    monkeypatch.setattr(curriculum, "build_model", build)
    monkeypatch.setattr(curriculum, "run_level_tests", lambda *_: LevelTests())
    config = validate_config({**SMALL, "forget_bias": "chrono", "max_steps": 1})
    train_level(tmp_path, TASKS["copy"], config, 7, "cpu", ignore)
    assert lengths == [TASKS["copy"].sequence_length(7)]


UNSTABLE = {**SMALL, "cell": "irnn", "learning_rate": 1000.0, "grad_clip": 1e9}


def run_adding(directory: Path, config: Config, lengths: list[int]) -> list[LevelResult]:
    return list(curriculum.run_curriculum(directory, "adding", config, lengths, "cpu", ignore))


def test_divergence_in_training_is_recorded_and_ends_curriculum(tmp_path: Path) -> None:
    config = validate_config({**UNSTABLE, "max_steps": 300})
    levels = run_adding(tmp_path, config, [60, 80])
    assert [(level.length, level.is_solved, level.test) for level in levels] == [(60, False, None)]
    assert "the loss is" in levels[0].divergence and levels[0].steps < 300
    assert not run_adding(tmp_path, config, [60, 80])


def test_divergence_in_test_is_recorded(tmp_path: Path) -> None:
    """The only step looks sound, but the weights after it are not."""
    run_adding(tmp_path, validate_config({**UNSTABLE, "max_steps": 1}), [60])
    (level,) = load_level_results(tmp_path, [60])
    assert (level.is_solved, level.test, level.steps) == (False, None, 1)
    assert level.divergence == "the loss at length 60 is nan"


def test_divergence_beyond_training_length_has_zero_accuracy(
    tmp_path: Path, monkeypatch: Any
) -> None:
    def answer(model: Any, task: Task, length: int, *_: Any, **__: Any) -> TaskAnswers:
        if length == 6:
            raise DivergedError("the loss at length 6 is inf")
        return TaskAnswers(TaskScore(0.0, 1.0))

    monkeypatch.setattr(level_tests, "answer_task", answer)
    monkeypatch.setattr(curriculum, "evaluate_task", lambda *_: TaskScore(0.0, 1.0))
    config = validate_config({**SMALL, "max_steps": 2, "eval_every": 1})
    level = train_level(tmp_path, TASKS["parity"], config, 3, "cpu", ignore)
    assert level.is_solved and level.extrapolation == {"2": 0.0, "4": 1.0}
    assert level.divergence == "the loss at length 6 is inf"


def save_level(directory: Path, length: int, is_solved: bool) -> None:
    level = LevelResult(
        length=length,
        is_solved=is_solved,
        steps=1,
        seconds=1.0,
        kernel="loop",
        chance=TaskScore(1.0, 0.5),
        test=TaskScore(0.5, 0.5),
        extrapolation={},
    )
    (directory / f"length-{length}.json").write_bytes(seal_json(level))


def test_curriculum_continues_only_above_solved_lengths(tmp_path: Path) -> None:
    for length, solved in {10: True, 50: False, 100: True}.items():
        save_level(tmp_path, length, solved)
    for lengths, loaded in {(10,): [10], (10, 50, 100): [10, 50], (10, 20, 50): [10]}.items():
        assert [level.length for level in load_level_results(tmp_path, lengths)] == loaded
    assert is_finished(load_level_results(tmp_path, [10, 50, 100]), [10, 50, 100])
    assert is_finished(load_level_results(tmp_path, [10]), [10])
    assert not is_finished(load_level_results(tmp_path, [10, 20]), [10, 20])
    assert not is_finished([], [10])


def test_directory_keeps_its_settings(tmp_path: Path) -> None:
    initialize_curriculum_dir(tmp_path, "copy", Config(max_steps=5))
    initialize_curriculum_dir(
        tmp_path, "copy", Config(max_steps=5, kernel="loop", device="cpu", threads=2)
    )
    for task, config in (("copy", Config(max_steps=6)), ("parity", Config(max_steps=5))):
        with pytest.raises(ConfigError, match="other settings"):
            initialize_curriculum_dir(tmp_path, task, config)


def test_option_that_the_cell_does_not_have_is_refused(tmp_path: Path) -> None:
    config = validate_config({**SMALL, "cell": "gru", "num_heads": 2})
    with pytest.raises(ConfigError, match="--num-heads 2: gru has no such option"):
        train_curriculum("parity", [4], config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_lengths_without_enough_memory_are_refused(monkeypatch: Any) -> None:
    config, task = validate_config(SMALL), TASKS["copy"]
    required = curriculum.estimate_training_memory(
        msgspec.structs.replace(config, seq_len=task.sequence_length(50)), task.input_size, "cpu"
    )
    monkeypatch.setattr(curriculum, "available_memory", lambda _: 2 * required)
    curriculum.check_length_fits_memory([config] * 3, task, 50, "cpu", parallel=2)
    with pytest.raises(InsufficientMemoryError, match="Try shorter --lengths, fewer --jobs"):
        curriculum.check_length_fits_memory([config] * 3, task, 50, "cpu", parallel=3)


def test_help_states_validation_interval() -> None:
    assert f"of a task: {curriculum.VALIDATION_INTERVAL}" in option_metadata("eval_every").default


class CountingProgress(NoProgress):
    """Counts reported steps and calls `on_step` with the sum."""

    def __init__(self, on_step: Callable[[int], object] = ignore) -> None:
        self.steps, self.on_step = 0, on_step

    def counter(self, description: str) -> Any:  # type: ignore[override]
        self.description = description
        return self

    def __enter__(self) -> Callable[[int], object]:
        return self.count

    def __exit__(self, *_: object) -> None:
        pass

    def count(self, steps: int) -> None:
        self.steps += steps
        self.on_step(self.steps)


def test_train_curriculum_reports_progress_and_continues(tmp_path: Path, caplog: Any) -> None:
    config = validate_config({**SMALL, "cell": "gru", "max_steps": 2})
    caplog.set_level("INFO", logger="charlm")
    progress = CountingProgress()
    report = train_curriculum("parity", [8, 16], config, tmp_path / "run", progress)
    assert isinstance(report, CurriculumReport) and report.task == "parity"
    assert [(level.length, level.steps) for level in report.levels] == [(8, 2)]
    assert progress.steps == 2 and "length 8: accuracy" in caplog.text
    assert train_curriculum("parity", [8, 16], config, tmp_path / "run") == report


def test_train_curriculum_keeps_completed_lengths_when_interrupted(tmp_path: Path) -> None:
    def interrupt(steps: int) -> None:
        if steps == 3:
            raise Interrupted(signal.SIGINT)

    config = validate_config({**SMALL, "cell": "gru", "max_steps": 300, "eval_every": 1})
    with pytest.raises(Interrupted, match="completed lengths are saved") as interruption:
        train_curriculum("parity", [5], config, tmp_path / "run", CountingProgress(interrupt))
    assert interruption.value.signal == signal.SIGINT
    lines = (tmp_path / "run" / "length-5.jsonl").read_text().splitlines()
    assert len(lines) == 2 and not (tmp_path / "run" / "length-5.json").exists()


def test_train_curriculum_refuses_foreign_directories(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputExistsError):
        train_curriculum("parity", [5], validate_config({**SMALL, "max_steps": 1}), tmp_path)
