"""Climbing a task's distances: trained, tested, recorded, stopped and gone on with."""

import json
import math
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from conftest import charlm, command
from torch import Tensor, nn

from charlm.cells.base import CELLS
from charlm.comparison import task_report
from charlm.comparison.budget_matching import match_budget
from charlm.config import Config, option_metadata, validate_config
from charlm.errors import ConfigError, DivergedError, InsufficientMemoryError
from charlm.models.build import build_model
from charlm.models.recurrent import ModelState
from charlm.reporting.terminal import tasks as drawing
from charlm.results.tasks import LevelResult, TaskScore
from charlm.tasks import curriculum
from charlm.tasks.base import IGNORE_INDEX, TASKS, Task
from charlm.tasks.curriculum import (
    evaluate_task,
    is_solved,
    load_level_results,
    train_level,
    train_on_task,
)
from charlm.training.trainer import Trainer

pass

SMALL = {
    "hidden_size": 24,
    "embedding_dim": 8,
    "batch_size": 32,
    "learning_rate": 0.02,
    "kernel": "loop",
}


def learner(task: Task, distance: int, **settings: Any) -> Trainer[Any]:
    config = validate_config({**SMALL, "seq_len": task.sequence_length(distance), **settings})
    return Trainer(
        build_model(task.model, config, task.symbols, "loop", "cpu"), config, config.max_steps
    )


def nothing(updates: int) -> None:
    """Nobody looks."""


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("name", "distance"), [("adding", 2), ("dyck", 3)])
def test_every_cell_learns_what_is_very_easy(cell: str, name: str, distance: int) -> None:
    task = TASKS[name]
    learns = learner(task, distance, cell=cell, max_steps=150, eval_every=10)
    for check in train_on_task(task, learns, distance, nothing):  # noqa: B007 (the last is looked at)
        pass
    assert check.loss < 0.5 * task.chance_score(distance).loss


class Fake(nn.Module):
    """Says what the oracle does, but for the last answer of every second sequence."""

    def __init__(self, task: Task, wrong: bool) -> None:
        super().__init__()
        self.task, self.wrong = task, wrong
        self.bias = nn.Parameter(torch.zeros(1))

    def start(self, batch: int) -> ModelState:
        del batch
        return ()

    def forward(self, x: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        del state
        y = torch.tensor([self.task.solve(one.tolist()) for one in x.unbind(1)]).T
        if self.wrong:
            for stream in y.T[::2]:
                last = (stream != IGNORE_INDEX).nonzero().max()
                stream[last] = (stream[last] + 1) % self.task.symbols
        if self.task.name == "adding":
            return y, ()
        return 40.0 * nn.functional.one_hot(y.clamp(min=0), self.task.symbols).float(), ()

    def cost(self, predictions: Tensor, y: Tensor) -> Tensor:
        made = self.task.model(validate_config(SMALL), self.task.symbols, "loop", "cpu")
        cost: Tensor = made.cost(predictions, y)
        return cost


@pytest.mark.parametrize("name", TASKS)
def test_an_oracle_is_found_to_be_one(name: str) -> None:
    level = evaluate_task(Fake(TASKS[name], False), TASKS[name], 5, "test", 64)  # type: ignore[arg-type]
    assert level.accuracy == 1 and level.loss == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "accuracy"),
    [("copy", 0.95), ("recall", 0.875), ("parity", 0.5), ("anbn", 0.5), ("anbncn", 0.5)]
    + [("adding", 0.5), ("induction", 13 / 14)],
)
def test_one_wrong_answer_counts_as_much_as_it_should(name: str, accuracy: float) -> None:
    """Of copy one in ten answers, of parity the only one; a whole of anbn is wrong with a part."""
    level = evaluate_task(Fake(TASKS[name], True), TASKS[name], 5, "test", 64)  # type: ignore[arg-type]
    assert level.accuracy == pytest.approx(accuracy) and level.loss > 0


def test_solved_is_99_percent_right_or_one_percent_of_chances_loss() -> None:
    chance = TaskScore(2.0, 0.1)
    for task in (TASKS["copy"], TASKS["dyck"]):
        assert is_solved(task, TaskScore(1.0, 0.99), chance)
        assert not is_solved(task, TaskScore(1.0, 0.989), chance)
    assert is_solved(TASKS["copy"], TaskScore(0.02, 0.5), chance)
    assert not is_solved(TASKS["copy"], TaskScore(0.0201, 0.5), chance)


class Forgets(Fake):
    """Knows the answers for which it must look back `reach` characters at most; guesses others."""

    def __init__(self, task: Task, reach: int) -> None:
        super().__init__(task, False)
        self.reach = reach

    def forward(self, x: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        predictions, _ = super().forward(x, state)
        for stream, read in enumerate(x.T.tolist()):
            opened: list[int] = []
            for at, symbol in enumerate(read):
                first = 0  # that must be known: of parity, of all
                if self.task.name == "dyck":
                    if symbol < 4:
                        opened.append(at)
                        continue
                    first = opened.pop()
                if at - first > self.reach:
                    predictions[at, stream] = 0
        return predictions, ()


@pytest.mark.parametrize(("name", "distance", "reach"), [("dyck", 200, 63), ("parity", 200, 198)])
def test_what_is_only_trained_on_does_not_make_up_for_wrong_answers(
    name: str, distance: int, reach: int
) -> None:
    """Most brackets close at once, and most parities are of fewer bits."""
    task = TASKS[name]
    level = evaluate_task(Forgets(task, reach), task, distance, "test", 64)  # type: ignore[arg-type]
    assert level.accuracy < 0.7 and level.loss < 0.01 * task.chance_score(distance).loss
    assert not is_solved(task, level, task.chance_score(distance))


def test_training_ends_when_two_checks_in_a_row_are_solved(monkeypatch: Any) -> None:
    accuracies = iter([0.5, 1.0, 0.9, 1.0, 1.0, 1.0])
    monkeypatch.setattr(curriculum, "measured", lambda *_: TaskScore(1.0, next(accuracies)))
    learns = learner(TASKS["parity"], 3, max_steps=100, eval_every=2)
    checks = list(train_on_task(TASKS["parity"], learns, 3, nothing))
    assert [check.step for check in checks] == [2, 4, 6, 8, 10] and learns.step == 10


def test_every_distance_is_trained_on_its_own_sequences_from_new_weights(tmp_path: Path) -> None:
    """So what comes of one does not depend on which were tried before, and repeats exactly."""
    task, config = TASKS["adding"], validate_config({**SMALL, "cell": "gru", "max_steps": 60})

    def came_of(distance: int) -> TaskScore | None:
        return train_level(tmp_path, task, config, distance, "cpu", nothing).test

    first = came_of(3)
    other = came_of(4)
    (tmp_path / "distance-3.jsonl").write_text('{"update":999}\n')  # of one that was killed
    assert came_of(3) == first != other
    lines = (tmp_path / "distance-3.jsonl").read_text().splitlines()
    assert [json.loads(line)["update"] for line in lines] == [50]


def test_units_may_keep_for_as_long_as_a_sequence_is(tmp_path: Path, monkeypatch: Any) -> None:
    """--forget-bias chrono is of --seq-len characters, and here that is the sequence's length."""
    seen = []

    def noted(kind: Any, config: Config, *rest: Any) -> Any:
        seen.append(config.seq_len)
        return build_model(kind, config, *rest)

    monkeypatch.setattr(curriculum, "made", noted)
    config = validate_config({**SMALL, "forget_bias": "chrono", "max_steps": 1})
    train_level(tmp_path, TASKS["copy"], config, 7, "cpu", nothing)
    assert seen == [27]


def test_a_loss_that_is_not_finite_is_recorded_and_ends_the_climb(tmp_path: Path) -> None:
    wild = {"cell": "irnn", "max_steps": 300, "learning_rate": 1000.0, "grad_clip": 1e9}
    config = validate_config({**SMALL, **wild})
    found = list(curriculum.run_curriculum(tmp_path, "adding", config, [60, 80], "cpu", nothing))
    assert [(one.length, one.solved, one.test) for one in found] == [(60, False, None)]
    assert "the loss is" in found[0].diverged and found[0].steps < 300
    assert not list(curriculum.run_curriculum(tmp_path, "adding", config, [60, 80], "cpu", nothing))


def test_a_test_that_is_not_finite_is_recorded_as_diverged(tmp_path: Path) -> None:
    """The one update looks sound; what it has made of the weights does not."""
    wild = {"cell": "irnn", "max_steps": 1, "learning_rate": 1000.0, "grad_clip": 1e9}
    config = validate_config({**SMALL, **wild})
    list(curriculum.run_curriculum(tmp_path, "adding", config, [60], "cpu", nothing))
    (found,) = load_level_results(tmp_path, [60])
    assert (found.solved, found.test, found.steps) == (False, None, 1)
    assert found.diverged == "at distance 60 the loss is nan"


def test_what_is_not_finite_farther_than_trained_is_not_right_there(
    tmp_path: Path, monkeypatch: Any
) -> None:
    def overflowing(model: Any, task: Task, distance: int, *rest: Any) -> TaskScore:
        if distance == 6:
            raise DivergedError("at distance 6 the loss is inf")
        return TaskScore(0.0, 1.0)

    monkeypatch.setattr(curriculum, "measured", overflowing)
    config = validate_config({**SMALL, "max_steps": 2, "eval_every": 1})
    found = train_level(tmp_path, TASKS["parity"], config, 3, "cpu", nothing)
    assert found.solved and found.extrapolation == {"2": 0.0, "4": 1.0}
    assert found.diverged == "at distance 6 the loss is inf"
    said = drawing.format_level_result(msgspec.to_builtins(found))
    assert said.startswith("distance 3: solved") and said.endswith("the loss is inf")
    assert task_report.summarize_level(3, [[found]])["diverged"] == 0


def test_a_climb_goes_on_above_what_was_solved_and_only_there(tmp_path: Path) -> None:
    def came_of(distance: int, well: bool) -> None:
        one = LevelResult(
            length=distance,
            solved=well,
            steps=1,
            seconds=1.0,
            kernel="loop",
            chance=TaskScore(1.0, 0.5),
            test=TaskScore(0.5, 0.5),
            extrapolation={},
        )
        (tmp_path / f"distance-{distance}.json").write_bytes(curriculum.encode_json(one))

    came_of(10, True)
    came_of(50, False)
    came_of(100, True)
    for steps, seen in {(10,): [10], (10, 50, 100): [10, 50], (10, 20, 50): [10]}.items():
        assert [one.length for one in load_level_results(tmp_path, steps)] == seen
    assert curriculum.is_finished(load_level_results(tmp_path, [10, 50, 100]), [10, 50, 100])
    assert curriculum.is_finished(load_level_results(tmp_path, [10]), [10])
    assert not curriculum.is_finished(load_level_results(tmp_path, [10, 20]), [10, 20])
    assert not curriculum.is_finished([], [10])


def test_a_directory_keeps_its_settings(tmp_path: Path) -> None:
    curriculum.initialize_curriculum_dir(tmp_path, "copy", Config(max_steps=5))
    curriculum.initialize_curriculum_dir(
        tmp_path, "copy", Config(max_steps=5, kernel="loop", device="cpu", threads=2)
    )
    for task, config in (("copy", Config(max_steps=6)), ("parity", Config(max_steps=5))):
        with pytest.raises(ConfigError, match="other settings"):
            curriculum.initialize_curriculum_dir(tmp_path, task, config)


# comparisons


@pytest.mark.parametrize("task", ["copy", "adding"])
def test_a_plan_is_equal_in_parameters_of_the_tasks_own_model(task: str, tmp_path: Path) -> None:
    kind, symbols = TASKS[task].model, TASKS[task].symbols
    footing = match_budget({"embedding_dim": 8}, ["gru", "lstm", "sru"], 20_000, symbols, kind=kind)

    def planned(**changed: Any) -> list[task_report.PlannedCurriculum]:
        words = {"footing": footing, "seeds": 2, "task": task}
        words |= {"settings": {"embedding_dim": 8}, "distances": [10, 20], "place": tmp_path}
        return task_report.plan_curricula(**{**words, **changed})

    for one in planned():
        model = build_model(kind, one.config, symbols, "loop", "cpu")
        assert sum(p.numel() for p in model.parameters()) == one.parameters
        assert abs(one.parameters - 20_000) <= 200
    paths = {one.path for one in planned()}
    assert len(paths) == 6
    assert {one.path for one in planned(distances=[10, 20, 50])} == paths
    assert {one.path for one in planned(seeds=3)} > paths
    assert not {one.path for one in planned(settings={"embedding_dim": 8, "max_steps": 9})} & paths
    assert not {one.path for one in planned(task="parity")} & paths


def came(distance: int, accuracy: float | None) -> LevelResult:
    return LevelResult(
        length=distance,
        solved=accuracy is not None and accuracy >= 0.99,
        steps=100 * distance,
        seconds=1.0,
        kernel="loop",
        chance=TaskScore(1.0, 0.5),
        test=None if accuracy is None else TaskScore(0.1, accuracy),
        extrapolation={} if accuracy is None else {"2": accuracy / 2, "4": accuracy / 4},
        diverged="the loss is nan" if accuracy is None else "",
    )


def test_a_seed_that_stopped_below_has_not_solved_what_is_above() -> None:
    climbs = [[came(1, 1.0), came(2, 1.0)], [came(1, 1.0), came(2, None)], [came(1, 0.5)]]
    first, second = (task_report.summarize_level(distance, climbs) for distance in (1, 2))
    assert (first["solved"], first["of"], first["tried"], first["diverged"]) == (2, 3, 3, 0)
    assert (second["solved"], second["of"], second["tried"], second["diverged"]) == (1, 3, 2, 1)
    assert second["accuracy"] == [1.0, None, None] and second["max_steps"] == [200, None, None]
    assert first["farther"] == {"2": [0.5, 0.5, 0.25], "4": [0.25, 0.25, 0.125]}
    # Wilson (1927): (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
    z, n, p = 1.959963984540054, 3, 2 / 3
    middle, half = p + z * z / 2 / n, z * math.sqrt(p * (1 - p) / n + z * z / 4 / n**2)
    wilson = [(middle + sign * half) / (1 + z * z / n) for sign in (-1, 1)]
    assert first["interval"] == pytest.approx(wilson)


def test_the_median_of_an_even_number_of_seeds_is_a_distance_that_was_trained(
    tmp_path: Path,
) -> None:
    footing = match_budget({"embedding_dim": 8}, ["gru"], 20_000, TASKS["copy"].symbols)
    climbs = task_report.plan_curricula(
        {"embedding_dim": 8}, 2, footing, "copy", [10, 20], tmp_path
    )
    for one, accuracy in zip(climbs, (1.0, 0.5), strict=True):
        one.path.mkdir(parents=True)
        (one.path / "distance-10.json").write_bytes(curriculum.encode_json(came(10, accuracy)))
    farthest = task_report.summarize_cell("gru", climbs, 0.0)["farthest"]
    assert farthest == {"median": 0, "per_seed": [10, 0]}


WORDS = ["--task", "adding", "--seeds", 1, "--params", 2600, "--embedding-dim", 8, "--lr", 0.02]
WORDS += ["--max-steps", 250, "--kernel", "loop", "--log-every", 0.2]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison that was terminated while a climb was at its second distance."""
    place = tmp_path_factory.mktemp("climbs") / "out"
    process = subprocess.Popen(
        command("compare-cells", *WORDS, "--cells", "gru", "--distance", "2,3000", "--out", place),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    for _ in range(900):
        if process.poll() is not None or list(place.glob("climbs/*/distance-3000.jsonl")):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 143, stderr
    assert stdout == b"" and b"the same command goes on" in stderr
    assert not (place / "report.json").exists()
    assert list(place.glob("climbs/gru-s0-*/distance-2.json"))
    assert not list(place.glob("climbs/*/distance-3000.json"))
    return place


def test_a_stopped_comparison_goes_on_and_reuses_what_is_done(out: Path) -> None:
    def done() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in out.glob("climbs/*/distance-*.json")}

    before = done()
    words = [*WORDS, "--distance", "2,3", "--out", out]
    first = charlm("compare-cells", *words, "--cells", "gru", "--json")
    assert first.returncode == 0, first.stderr
    report = json.loads(first.stdout)
    assert report == json.loads((out / "report.json").read_text()) and report["kind"] == "task"
    assert report["distances"] == [2, 3] and report["chance"][0]["loss"] == 1 / 6
    (row,) = report["rows"]
    assert (row["cell"], row["seeds"], row["farthest"]["per_seed"]) == ("gru", [0], [3])
    assert [one["solved"] for one in row["distances"]] == [1, 1]
    after = done()
    assert before.items() < after.items() and len(after) == 2

    more = charlm("compare-cells", *words, "--cells", "rnn,gru")
    assert more.returncode == 0, more.stderr
    assert after.items() < done().items()
    lines = more.stdout.decode().splitlines()
    assert lines[0].split()[:2] == ["cell", "params"] and all(len(line) <= 80 for line in lines)
    assert {line.split()[0] for line in lines[2:4]} == {"gru", "rnn"}
    assert sum("1/1" in line for line in lines) >= 3, more.stdout.decode()
    assert b"every climb" in more.stderr


def test_a_distance_that_memory_is_too_small_for_is_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: Any
) -> None:
    words = ["--task", "copy", "--distance", "1,9999999", "--params", 9060, "--out", "out"]
    done = charlm("compare-cells", *words, cwd=tmp_path)
    assert done.returncode == 79 and b"charlm: --distance 9999999 needs about" in done.stderr
    assert not list(tmp_path.glob("out/climbs")) and not list(tmp_path.glob("out/logs"))
    one = validate_config(SMALL)
    task = TASKS["copy"]
    need = curriculum.estimate_training_memory(
        msgspec.structs.replace(one, time=task.sequence_length(50)), task.symbols
    )
    monkeypatch.setattr(curriculum, "memory_available", lambda _: 2 * need)
    curriculum.check_length_fits_memory([one] * 3, task, 50, "cpu", side_by_side=2)
    with pytest.raises(InsufficientMemoryError, match="climb less far, fewer side by side"):
        curriculum.check_length_fits_memory([one] * 3, task, 50, "cpu", side_by_side=3)


def test_help_says_how_often_tasks_are_checked() -> None:
    assert f"on a task {curriculum.EVERY}" in option_metadata("eval_every")["help"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("compare-cells --task cpoy --distance 5", "no task is called 'cpoy'; did you mean copy?"),
        ("compare-cells --task copy --distance 0", "--distance 0: the shortest of this task is 1"),
        ("compare-cells --task copy --distance 6..9", "--distance 6..9: none of 1, 2, 5"),
        ("compare-cells --task copy", "--task and --distance go together"),
        ("compare-cells --distance 5", "--task and --distance go together"),
        ("compare-cells a.txt --task copy --distance 5", "reads no text: leave a.txt out"),
        (
            "compare-cells --task copy --distance 5 --dry-run",
            "--dry-run cannot know how far climbs get",
        ),
        ("compare-cells --task copy --distance 5 --match seconds", "is of updates on a text"),
        (
            "compare-cells --task copy --distance 5 --seq-len 9",
            "reads no text: leave --seq-len out",
        ),
        ("tasks show copy --distance 0", "Input should be greater than or equal to 1"),
        ("tasks show adding --distance 1", "the shortest of this task is 2"),
    ],
)
def test_bad_input_is_told_in_a_line_and_leaves_nothing(
    words: str, said: str, tmp_path: Path
) -> None:
    done = charlm(*words.split(), cwd=tmp_path)
    assert done.returncode in (2, 78) and said in done.stderr.decode(), done.stderr
    assert len(done.stderr.splitlines()) == 1 and not list(tmp_path.iterdir())


def test_tasks_are_listed_and_shown_with_what_is_asked_marked() -> None:
    entries = json.loads(charlm("tasks", "--json").stdout)["tasks"]
    assert {one["task"] for one in entries} == set(TASKS)
    assert all(one["source"] and one["chance"] and one["distance"] for one in entries)
    shown = charlm("tasks", "show", "copy", "--distance", 8).stdout.decode()
    read, answers, marks = shown.split("(^ is asked):\n\n")[1].splitlines()[:3]
    said = read.split()[1][:10]
    assert answers.split()[1] == "." * 18 + said
    asked = [letter for letter, mark in zip(answers, marks, strict=True) if mark == "^"]
    assert "".join(asked) == said
    assert f"loss {10 * math.log(8) / 28:.6f}, 12.50% right" in shown
