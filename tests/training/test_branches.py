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
from charlm.training import loop
from charlm.training.branches import Branch, plan_branches
from charlm.training.completion import restore_trainer
from charlm.training.loop import run_training_loop
from charlm.training.schedule import learning_rate

SETTINGS = {"max_steps": 24, "warmup_steps": 1, "eval_every": 8, "branches": "1/4,1/2"}
STARTS = (5, 10)  # 1/4: 6 steps, of which 1 decays; 1/2: 12 steps, of which 2 do


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
    assert [type(m) for m in metrics if m.step in (5, 6)][:2] == [StepMetrics, BranchMetrics]
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


@pytest.mark.parametrize("call", [5, 6, 7, 13])
def test_run_stopped_around_a_branch_ends_in_the_same_bytes(
    tmp_path: Path, book: Path, whole: Run, call: int
) -> None:
    """`stop` is called after each step of the run and before each of a branch: 6, 12 and 13."""
    stopped, _, _ = make_run(tmp_path / "stopped", book, **SETTINGS)
    train_run(stopped, stop_at_call=call)
    assert max(stopped.checkpoints) in STARTS + (6,)
    assert len(load_branches(stopped.path)) == (call > 6)
    train_run(stopped)
    assert tensors(stopped) == tensors(whole)
    name = "metrics.jsonl"
    assert (stopped.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_run_stopped_in_the_same_branch_twice_keeps_the_validation_of_its_checkpoint(
    tmp_path: Path, book: Path
) -> None:
    settings = {**SETTINGS, "eval_every": STARTS[0]}
    run, _, _ = make_run(tmp_path / "r", book, **settings)
    train_run(run, stop_at_call=6)
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
    eighth, half = plan_branches(config, 2441)
    assert eighth == Branch(Fraction(1, 8), 244, 305) and half == Branch(Fraction(1, 2), 976, 1220)
    assert plan_branches(validate_config({}), 7) == ()
    with pytest.raises(ConfigError, match=r"--branches 1/8, 0.5: the run has only 3 steps"):
        plan_branches(config, 3)


def test_rate_before_the_decay_does_not_depend_on_the_end() -> None:
    config = validate_config({"learning_rate": 1.0, "warmup_steps": 10})
    whole = [learning_rate(config, step, 1000) for step in range(1000)]
    branch = [learning_rate(config, step, 1000, 500) for step in range(500)]
    assert branch[:400] == whole[:400] and branch[-1] == pytest.approx(0.02)
    assert branch[400:] == pytest.approx([1 - 0.98 * (n + 1) / 100 for n in range(100)])
