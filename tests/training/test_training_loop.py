"""Tests of resuming: a run that was stopped or killed anywhere ends in the same bytes."""

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import make_run, prose

from charlm.data.batches import BatchSampler
from charlm.data.corpus import reload_corpus
from charlm.errors import DataError, DivergedError
from charlm.evaluation.generation import iter_generated
from charlm.evaluation.scoring import score_text
from charlm.models.build import build_char_lm
from charlm.models.char_lm import CharLM
from charlm.results.training import StepMetrics, TrainingProgress, ValidationMetrics
from charlm.runs.checkpoint import Tensors
from charlm.runs.run import Run
from charlm.training import loop
from charlm.training.completion import restore_trainer
from charlm.training.loop import run_training_loop
from charlm.training.trainer import Trainer

HARD = {
    "dropout": 0.3,
    "num_layers": 2,
    "lr_schedule": "cosine",
    "initial_state": "learned",
    "eval_every": 5,
}


def train_run(run: Run, *, stop_after: int = 0, abandon_after: int = 0) -> Trainer[CharLM]:
    """Train until the end, a stop, or a kill, for which the generator is abandoned."""
    config = run.record.config
    corpus = reload_corpus(config, run.record.text)
    trainer, metrics_bytes = restore_trainer(run, "cpu", config)
    events: Iterator[object] = run_training_loop(
        run, trainer, corpus, metrics_bytes, lambda: trainer.step == stop_after
    )
    for event in events:
        if isinstance(event, StepMetrics) and event.step == abandon_after:
            break
    return trainer


def result_of(run: Run) -> dict[str, bytes]:
    """Return everything that must be equal, byte for byte."""
    checkpoint = run.checkpoints[max(run.checkpoints)]
    result = {
        name: (checkpoint / f"{name}.safetensors").read_bytes() for name in ("model", "training")
    }
    progress = json.loads((checkpoint / "progress.json").read_bytes())
    del progress["seconds"], progress["cpu"]
    result["progress"] = json.dumps(progress).encode()
    result["metrics"] = (run.path / "metrics.jsonl").read_bytes()
    model = build_char_lm(run.record.config, run.vocabulary.size, "loop", "cpu")
    model.load_state_dict(run.load_checkpoint("best").tensors["model"])
    result["sample"] = b"".join(iter_generated(model, run.vocabulary, "The ", 40, seed=3))
    return result


# Each cell alone is tested by its conformance checks; this is about the run.
MODELS = [
    {"cell": "rnn"},
    {"cell": "gru", "forget_bias": "chrono"},
    {"cell": "gru-cho", "weight_dropout": 0.3},
    {"cell": "lstm"},
    {"cell": "lstm", "block": "residual", "recurrent_init": "orthogonal"},
]
FAST_AND_SLOW_MODELS = [*MODELS[:1], *(pytest.param(m, marks=pytest.mark.slow) for m in MODELS[1:])]


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_run_stopped_at_any_step_ends_in_the_same_bytes(
    tmp_path: Path, model: dict[str, str]
) -> None:
    """Weights, moments, carried state, metrics and samples; dropout, schedule, two epochs."""
    (tmp_path / "book.txt").write_text(prose(450))
    run, corpus, _ = make_run(tmp_path / "whole", tmp_path / "book.txt", **model, **HARD)
    assert BatchSampler(corpus.split("train"), 4, 16, 0).windows == 6  # 12 steps: two epochs
    train_run(run)
    expected = result_of(run)
    for step in range(1, 12):
        stopped, _, _ = make_run(tmp_path / f"s{step}", tmp_path / "book.txt", **model, **HARD)
        assert train_run(stopped, stop_after=step).step == step
        assert train_run(stopped).step == 12
        assert result_of(stopped) == expected, f"stopped after {step}"


@pytest.mark.parametrize("model", FAST_AND_SLOW_MODELS, ids=str)
def test_run_killed_at_any_step_ends_in_the_same_bytes(
    tmp_path: Path, model: dict[str, str]
) -> None:
    """A kill saves nothing: the run goes back to its last checkpoint, or to its start."""
    (tmp_path / "book.txt").write_text(prose(450))
    run, _, _ = make_run(tmp_path / "whole", tmp_path / "book.txt", **model, **HARD)
    train_run(run)
    expected = result_of(run)
    for step in (1, 4, 6, 7, 11):
        killed, _, _ = make_run(tmp_path / f"k{step}", tmp_path / "book.txt", **model, **HARD)
        train_run(killed, abandon_after=step)
        with (killed.path / "metrics.jsonl").open("ab") as log:
            log.write(b'{"step":99,"bi')
        train_run(killed)
        assert result_of(killed) == expected, f"killed after {step}"


def test_training_resumes_from_the_newest_intact_checkpoint(
    tmp_path: Path, book: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, _, _ = make_run(tmp_path / "whole", book, eval_every=3)
    train_run(run)
    damaged, _, _ = make_run(tmp_path / "damaged", book, eval_every=3)
    train_run(damaged, stop_after=9)
    older, newer = list(damaged.checkpoints.items())[-2:]
    (newer[1] / "progress.json").write_bytes(b"{}")
    corpus = reload_corpus(damaged.record.config, damaged.record.text)
    trainer, metrics_bytes = restore_trainer(damaged, "cpu", damaged.record.config)
    assert trainer.step == older[0] < newer[0] == 9
    message, aside = caplog.messages
    assert "progress.json is damaged" in message and f"using step {older[0]}" in message
    assert aside == f"the damaged checkpoint is kept as {newer[1].parent}/damaged-{newer[1].name}"
    assert newer[0] not in damaged.checkpoints
    list(run_training_loop(damaged, trainer, corpus, metrics_bytes))
    assert result_of(damaged) == result_of(run)


@pytest.mark.parametrize("part", ["carried", "exp_avg", "step"])
def test_every_part_of_a_checkpoint_is_needed(
    tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """Planted fault: set one part to zero, and the bytes must differ."""
    run, _, _ = make_run(tmp_path / "whole", book)
    train_run(run)
    stopped, _, _ = make_run(tmp_path / "stopped", book)
    train_run(stopped, stop_after=5)
    load_state = Trainer.load_state

    def load_without_part(
        self: Trainer[CharLM], tensors: Tensors, progress: TrainingProgress
    ) -> None:
        training = {
            name: torch.zeros_like(value) if name.split("/")[0] == part else value
            for name, value in tensors["training"].items()
        }
        load_state(self, {**tensors, "training": training}, progress)

    monkeypatch.setattr(Trainer, "load_state", load_without_part)
    train_run(stopped)
    assert result_of(stopped) != result_of(run)


def test_moved_run_resumes(tmp_path: Path, book: Path) -> None:
    run, _, _ = make_run(tmp_path / "whole", book)
    train_run(run)
    stopped, _, _ = make_run(tmp_path / "stopped", book)
    train_run(stopped, stop_after=5)
    shutil.move(stopped.path, tmp_path / "moved")
    train_run(Run(tmp_path / "moved"))
    assert result_of(Run(tmp_path / "moved")) == result_of(run)


def test_evaluation_never_changes_training(tmp_path: Path, book: Path) -> None:
    """More often, less often, with an exact score in between: the same steps, bit for bit."""
    steps = []
    for number, interval in enumerate((1, 5, 12)):
        settings = {**HARD, "eval_every": interval}
        run, corpus, config = make_run(tmp_path / str(number), book, **settings)
        trainer, _ = restore_trainer(run, "cpu", config)
        events = []
        for event in run_training_loop(run, trainer, corpus):
            events.append(event)
            if interval == 5:
                span = corpus.record.splits["test"]
                score_text(trainer.model, corpus.vocabulary, corpus.encoding, span)
                torch.rand(5)  # nor does other use of the global generator
        steps.append([event for event in events if isinstance(event, StepMetrics)])
        validations = sum(isinstance(event, ValidationMetrics) for event in events)
        assert validations == {1: 12, 5: 3, 12: 1}[interval]
    assert steps[0] == steps[1] == steps[2]


def test_weights_order_and_dropout_depend_on_the_seed(tmp_path: Path, book: Path) -> None:
    bits: list[list[float]] = []
    for seed in (0, 0, 1):
        run, corpus, config = make_run(tmp_path / f"{len(bits)}", book, seed=seed, **HARD)
        trainer, _ = restore_trainer(run, "cpu", config)
        events = run_training_loop(run, trainer, corpus)
        bits.append([event.bits for event in events if isinstance(event, StepMetrics)])
    assert bits[0] == bits[1] != bits[2]


def checkpoint_bytes(run: Run) -> dict[str, bytes]:
    files = (run.path / "checkpoints").rglob("*.*")
    return {str(file.relative_to(run.path)): file.read_bytes() for file in files}


@pytest.mark.parametrize("part", ["weights", "state"])
def test_loss_that_is_not_finite_changes_no_weight(tmp_path: Path, book: Path, part: str) -> None:
    run, _, config = make_run(tmp_path / "r", book, eval_every=3)
    trainer = train_run(run, stop_after=6)
    files = checkpoint_bytes(run)
    if part == "weights":
        with torch.no_grad():
            trainer.model.bias[0] = math.nan
    else:
        assert trainer.carried
        trainer.carried[0][0][0, 0] = math.inf
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}

    with pytest.raises(DivergedError, match="step 7: the loss is .*nan"):
        list(run_training_loop(run, trainer, reload_corpus(config, run.record.text), 10**9))
    after = trainer.model.state_dict()
    assert all(torch.equal(before[n].nan_to_num(7), after[n].nan_to_num(7)) for n in before)
    assert checkpoint_bytes(run) == files
    assert train_run(run).step == 12


def test_validation_that_is_not_finite_stops_training(
    tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, corpus, config = make_run(tmp_path / "r", book, eval_every=5)
    trainer, _ = restore_trainer(run, "cpu", config)
    monkeypatch.setattr(loop, "validation_bpc", lambda *_: math.inf)
    with pytest.raises(DivergedError, match="step 5: validation gives inf bits"):
        list(run_training_loop(run, trainer, corpus))


def test_metrics_that_lost_lines_are_bad_data(tmp_path: Path, book: Path) -> None:
    run, _, config = make_run(tmp_path / "r", book)
    train_run(run, stop_after=6)
    path = run.path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="metrics.jsonl has lost lines"):
        restore_trainer(run, "cpu", config)


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, book: Path) -> None:
    run, _, _ = make_run(tmp_path / "r", book)
    trainer = train_run(run, stop_after=6)
    with torch.no_grad():
        trainer.model.embed.weight[0, 0] = math.nan
    with pytest.raises(DivergedError, match="cannot save step 6: embed.weight is not finite"):
        run.save_checkpoint(trainer.progress(0, None), trainer.state_tensors())
