"""Tests of branches: decayed copies that leave their run unchanged to the bit."""

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_run

from charlm.config import validate_config
from charlm.data.corpus import reload_corpus
from charlm.errors import ConfigError
from charlm.evaluation.scoring import validation_bpc
from charlm.results.training import BranchMetrics, StepMetrics, ValidationMetrics
from charlm.runs.metrics import iter_metrics, load_branches, load_latest_metrics
from charlm.runs.run import Run
from charlm.settings.values import DECAY_FRACTION, FINAL_LR_FRACTION
from charlm.training import loop
from charlm.training.branches import plan_branches
from charlm.training.completion import restore_trainer
from charlm.training.loop import run_training_loop
from charlm.training.schedule import branch_steps, learning_rate

SETTINGS = {"max_steps": 24, "warmup_steps": 1, "eval_every": 8, "branches": "1/4,1/2"}
ENDS = (6, 12)
STARTS = tuple(branch_steps(end)[0] for end in ENDS)
# `stop` is called after each step of the run and before each step of a branch. Numbers of calls:
FIRST = STARTS[0] + 1  # before the first step of the first branch
AFTER = ENDS[0] + 1  # after the first step of the run behind it
SECOND = STARTS[1] + ENDS[0] - STARTS[0] + 1  # before the first step of the second branch


def train_run(run: Run, stop_at_call: int = 0) -> None:
    """Train to the end, or until `stop` was called so often."""
    config = run.record.config
    trainer, metrics_bytes = restore_trainer(run, "cpu", config)
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls == stop_at_call

    corpus = reload_corpus(config, run.record.text)
    list(run_training_loop(run, trainer, corpus, metrics_bytes, stop))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, book: Path) -> Run:
    run, _, _ = make_run(tmp_path_factory.mktemp("whole") / "r", book, **SETTINGS)
    train_run(run)
    return run


def tensors(run: Run) -> dict[str, bytes]:
    path = run.checkpoints[max(run.checkpoints)]
    return {name: (path / f"{name}.safetensors").read_bytes() for name in ("model", "training")}


@pytest.mark.parametrize(
    "model",
    [
        {"cell": "lstm"},
        {"cell": "gru", "kernel": "loop", "initial_state": "learned"},
        {"cell": "rnn", "block": "residual", "dropout": 0.3, "weight_dropout": 0.3},
    ],
    ids=str,
)
def test_run_with_branches_is_the_run_without_them(
    tmp_path: Path, book: Path, model: dict[str, str]
) -> None:
    """Weights, moments, carried state and all other metrics, to the bit."""
    with_branches, _, _ = make_run(tmp_path / "with", book, **SETTINGS, **model)
    without, _, _ = make_run(tmp_path / "without", book, **{**SETTINGS, "branches": ""}, **model)
    for run in (with_branches, without):
        train_run(run)
    assert tensors(with_branches) == tensors(without)
    metrics = list(iter_metrics(with_branches.path))
    kinds = [type(m) for m in metrics if not isinstance(m, ValidationMetrics)]
    for start in STARTS:  # each branch follows the step where it starts
        assert kinds.pop(start) is BranchMetrics
    assert kinds == [StepMetrics] * 24
    rest = [line for line in metrics if not isinstance(line, BranchMetrics)]
    assert rest == list(iter_metrics(without.path))


def test_generator_of_random_numbers_is_left_as_it_was(tmp_path: Path, book: Path) -> None:
    states = []
    for name, branches in (("with", "1/2"), ("without", "")):
        settings = {**SETTINGS, "branches": branches, "dropout": 0.5}
        run, corpus, config = make_run(tmp_path / name, book, **settings)
        trainer, _ = restore_trainer(run, "cpu", config)
        for event in run_training_loop(run, trainer, corpus):
            if branches and isinstance(event, BranchMetrics):
                break
            if not branches and isinstance(event, StepMetrics) and event.step == STARTS[1]:
                break
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_branch_is_the_run_of_that_budget(tmp_path: Path, book: Path, whole: Run) -> None:
    short, _, _ = make_run(
        tmp_path / "short", book, **{**SETTINGS, "max_steps": 12, "branches": ""}
    )
    train_run(short)
    first, second = load_branches(whole.path)
    assert (first.fraction, first.step, first.characters) == (0.25, 6, 6 * 64)
    assert (second.fraction, second.step, second.characters) == (0.5, 12, 12 * 64)
    last = list(iter_metrics(short.path))[-1]
    assert isinstance(last, ValidationMetrics) and last.valid_bits == second.valid_bits


@pytest.mark.parametrize(
    "call", [FIRST - 1, FIRST, FIRST + 1, AFTER, SECOND - 1, SECOND, SECOND + 1]
)
def test_run_stopped_around_a_branch_ends_in_the_same_bytes(
    tmp_path: Path, book: Path, whole: Run, call: int
) -> None:
    stopped, _, _ = make_run(tmp_path / "stopped", book, **SETTINGS)
    train_run(stopped, stop_at_call=call)
    expected = STARTS[0] if call < AFTER else STARTS[0] + 1 if call == AFTER else STARTS[1]
    assert max(stopped.checkpoints) == expected
    assert len(load_branches(stopped.path)) == (call >= AFTER)
    train_run(stopped)
    assert tensors(stopped) == tensors(whole)
    name = "metrics.jsonl"
    assert (stopped.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_run_stopped_in_the_same_branch_twice_keeps_the_validation_of_its_checkpoint(
    tmp_path: Path, book: Path
) -> None:
    settings = {**SETTINGS, "eval_every": STARTS[0]}
    run, _, _ = make_run(tmp_path / "r", book, **settings)
    train_run(run, stop_at_call=FIRST)
    train_run(run, stop_at_call=1)
    progress = run.load_checkpoint("best").progress
    assert progress.step == STARTS[0] and progress.valid_bits is not None


def test_copy_that_diverges_has_no_result_and_the_run_goes_on(
    tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, corpus, config = make_run(tmp_path / "r", book, **SETTINGS)
    trainer, _ = restore_trainer(run, "cpu", config)

    def validate(*arguments: Any) -> float:
        return math.nan if trainer.end_step else validation_bpc(*arguments)

    monkeypatch.setattr(loop, "validation_bpc", validate)
    list(run_training_loop(run, trainer, corpus))
    assert [branch.valid_bits for branch in load_branches(run.path)] == [None, None]
    assert load_latest_metrics(run.path).step == trainer.step == 24


def test_cpu_seconds_of_branches_are_counted_apart(tmp_path: Path, book: Path) -> None:
    run, corpus, config = make_run(tmp_path / "r", book, **SETTINGS)
    trainer, _ = restore_trainer(run, "cpu", config)
    list(run_training_loop(run, trainer, corpus))
    cpu = trainer.cpu_so_far()
    assert min(cpu.updates, cpu.branches, cpu.looks) > 0
    assert cpu.updates + cpu.branches + cpu.looks <= cpu.total
    restored, _ = restore_trainer(run, "cpu", config)
    assert (restored.cpu.branches, restored.cpu.looks) == (cpu.branches, cpu.looks)


def test_branches_are_planned_on_whole_steps() -> None:
    config = validate_config({"branches": "1/8, 0.5"})
    planned = plan_branches(config, 2441)
    assert [(branch.fraction, branch.end) for branch in planned] == [
        (Fraction(1, 8), 305),
        (Fraction(1, 2), 1220),
    ]
    for branch in planned:
        assert branch.start == branch.end - round(DECAY_FRACTION * branch.end)
    assert plan_branches(validate_config({}), 7) == ()
    with pytest.raises(ConfigError, match=r"--branches 1/8, 0.5: the run has only 3 steps"):
        plan_branches(config, 3)


def test_rate_before_the_decay_does_not_depend_on_the_end() -> None:
    config = validate_config({"learning_rate": 1.0, "warmup_steps": 10})
    whole = [learning_rate(config, step, 1000) for step in range(1000)]
    branch = [learning_rate(config, step, 1000, 500) for step in range(500)]
    steps = round(500 * DECAY_FRACTION)
    assert branch[:-steps] == whole[: 500 - steps] and branch[-1] == pytest.approx(0.02)
    assert whole[499] == branch[-steps - 1] == 1.0
    decay = [1 - math.sqrt((n + 1) / steps) for n in range(steps)]
    rates = [FINAL_LR_FRACTION + (1 - FINAL_LR_FRACTION) * part for part in decay]
    assert branch[-steps:] == pytest.approx(rates)
