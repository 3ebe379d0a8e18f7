"""What a finished run keeps: its best weights alone, or all of its last checkpoints."""

from pathlib import Path

import pytest
from conftest import TINY

from charlm.config import validate_config
from charlm.errors import ConfigError
from charlm.runs.checkpoint_files import TRAINING_FILE
from charlm.runs.run import Run
from charlm.training import loop
from charlm.training.session import train

BEST, LAST = 4, 16  # steps


def train_with_early_best(
    directory: Path, book: Path, monkeypatch: pytest.MonkeyPatch, keep: str
) -> Run:
    """Train a run whose first validation is the best one."""
    bits = iter([2.0, 3.0, 3.0, 3.0])
    monkeypatch.setattr(loop, "validation_bpc", lambda *_: next(bits))
    settings = {**TINY, "max_steps": LAST, "eval_every": 4, "final_eval": "none"}
    config = validate_config({**settings, "save_every": 1e6, "keep": keep})
    return train(str(book), config, directory / keep)


def kept_files(run: Run) -> dict[int, list[str]]:
    """Return step -> files of its checkpoint that hold tensors."""
    return {
        step: sorted(file.name for file in path.glob("*.safetensors"))
        for step, path in run.checkpoints.items()
    }


def test_finished_run_keeps_its_best_weights_alone(
    tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train_with_early_best(tmp_path, book, monkeypatch, "weights")
    assert kept_files(run) == {BEST: ["model.safetensors"]}
    assert run.report and run.report.best_step == BEST
    best = run.load_checkpoint("best")
    assert best.progress.step == BEST and best.sha256 == run.report.weights_sha256
    assert run.model() is not None
    with pytest.raises(ConfigError, match="has kept its best weights alone, of step 4. .*--keep"):
        run.load_checkpoint("last")


def test_run_that_keeps_all_has_its_best_and_last_state(
    tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train_with_early_best(tmp_path, book, monkeypatch, "all")
    both = ["model.safetensors", TRAINING_FILE]
    assert kept_files(run) == {BEST: both, LAST: both}
    last = run.load_checkpoint("last")
    assert last.progress.step == LAST and last.tensors["training"]
    assert run.load_checkpoint("best").progress.step == BEST
