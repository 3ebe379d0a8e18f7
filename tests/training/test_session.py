"""Tests of the public training functions: new runs, resuming, planning."""

import logging
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from conftest import TINY, make_run

from charlm.config import Config, validate_config
from charlm.data.corpus import load_corpus
from charlm.errors import (
    ConfigError,
    DataError,
    InputNotFoundError,
    LockedError,
    OutputExistsError,
)
from charlm.recipes import apply_recipe, get_recipe
from charlm.results.run import RunSummary
from charlm.runs.metrics import iter_events
from charlm.runs.run import load_run
from charlm.storage.lock import exclusive_lock
from charlm.training import loop
from charlm.training.dry_run import plan_training
from charlm.training.session import resume_training, train

CONFIG = validate_config(TINY)


def test_train_returns_the_finished_run(tmp_path: Path, book: Path) -> None:
    corpus = load_corpus(book)
    summaries: list[RunSummary] = []
    run = train(corpus, CONFIG, tmp_path / "r", on_start=summaries.append)
    report = run.report
    assert report and report.score and report.score.protocol == "one-stream"
    assert (report.steps, report.characters_read, report.scored_split) == (12, 12 * 64, "test")
    (summary,) = summaries
    assert summary.record == load_run(tmp_path / "r").record
    assert summary.seconds_per_step > 0 and summary.memory_bytes > 0 and summary.steps_done == 0


def test_corpus_and_sources_train_the_same_run(tmp_path: Path, book: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b")]
    train(load_corpus(str(book)), CONFIG, paths[0])
    train(str(book), CONFIG, str(paths[1]))
    for name in ("run.json", "metrics.jsonl"):
        assert (paths[0] / name).read_bytes() == (paths[1] / name).read_bytes()


def test_run_is_resumed_only_if_asked(
    tmp_path: Path, book: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = load_corpus(book)
    run = train(corpus, CONFIG, tmp_path / "r")
    with pytest.raises(OutputExistsError, match="--resume"):
        train(corpus, CONFIG, tmp_path / "r")
    with caplog.at_level(logging.INFO, "charlm"):
        assert train(corpus, CONFIG, tmp_path / "r", resume=True).report == run.report
    assert "nothing is left to train" in caplog.text
    assert "give a larger budget, such as --max-steps 24" in caplog.text


@pytest.mark.parametrize("kept", ["weights", "cosine"])
def test_finished_run_that_has_no_longer_budget_is_not_told_to_get_one(
    tmp_path: Path, book: Path, caplog: pytest.LogCaptureFixture, kept: str
) -> None:
    other = {"lr_schedule": "cosine"} if kept == "cosine" else {"keep": kept}
    config = msgspec.structs.replace(CONFIG, **other)
    train(str(book), config, tmp_path / "r")
    with caplog.at_level(logging.INFO, "charlm"):
        resume_training(tmp_path / "r")
    assert f"start a new run from its weights: --init-from {tmp_path / 'r'}" in caplog.text
    assert "--max-steps" not in caplog.text


def test_same_call_starts_continues_and_returns_a_run(tmp_path: Path, book: Path) -> None:
    corpus, path = load_corpus(book), tmp_path / "r"
    path.mkdir()
    (path / "lock").write_text("process 1 on host")  # left behind by a killed start
    (path / "vocabulary.json").touch()
    config = msgspec.structs.replace(CONFIG, keep="all")
    run = train(corpus, config, path, resume=True)
    assert run.report and run.report.steps == 12
    (path / "report.json").unlink()
    report = train(corpus, config, path, resume=True).report
    assert report and msgspec.structs.replace(report, cpu=run.report.cpu) == run.report
    assert report.cpu.updates == run.report.cpu.updates
    assert report.cpu.total > run.report.cpu.total - run.report.cpu.score
    assert [event.event for event in iter_events(path)].count("resumed") == 1
    assert train(corpus, config, path, resume=True).report == report
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(OutputExistsError, match="it exists"):
        train(corpus, CONFIG, tmp_path / "other", resume=True)


def test_resuming_without_config_keeps_that_of_the_run(tmp_path: Path, book: Path) -> None:
    corpus = load_corpus(book)
    run = train(corpus, CONFIG, tmp_path / "r")
    assert train(corpus, None, run.path, resume=True).report == run.report
    assert train(str(book), None, run.path, resume=True).report == run.report
    with pytest.raises(ConfigError, match="--hidden-size 9"):
        changed = msgspec.structs.replace(CONFIG, hidden_size=9)
        train(corpus, changed, run.path, resume=True)
    with pytest.raises(ConfigError, match="--vocab bytes"):
        train(load_corpus(book, Config(vocab="bytes")), None, run.path, resume=True)


@pytest.mark.parametrize(
    "settings", [{"hidden_size": -8}, {"learning_rate": -1.0}, {"final_eval": "tset"}]
)
def test_config_built_by_a_program_is_checked(
    tmp_path: Path, book: Path, settings: dict[str, Any]
) -> None:
    config = msgspec.structs.replace(CONFIG, **settings)
    for corpus in (book, load_corpus(book)):
        for function in (train, plan_training):
            with pytest.raises(ConfigError):
                function(corpus, config, tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_locked_run_is_an_error_of_its_own(tmp_path: Path, book: Path) -> None:
    path = make_run(tmp_path / "r", book)[0].path
    with exclusive_lock(path):
        with pytest.raises(LockedError):
            train(book, CONFIG, path)
        with pytest.raises(LockedError):
            resume_training(path)
        with pytest.raises(LockedError):
            train(book, CONFIG, path, resume=True)
    with pytest.raises(OutputExistsError):
        train(book, CONFIG, path)


def test_resuming_what_is_no_run_makes_none(tmp_path: Path, book: Path) -> None:
    with pytest.raises(InputNotFoundError, match="there is no such run"):
        resume_training(tmp_path / "typo")
    assert not (tmp_path / "typo").exists()
    with pytest.raises(ConfigError, match="no run is named"):
        train(book, CONFIG, resume=True)


def test_resuming_keeps_the_settings_and_the_text(tmp_path: Path, book: Path) -> None:
    train(str(book), CONFIG, tmp_path / "r")
    with pytest.raises(ConfigError, match=r"--hidden-size 9 \(the run has 8\)"):
        resume_training(tmp_path / "r", overrides={"hidden_size": 9})
    (tmp_path / "other.txt").write_text(book.read_text()[::-1])
    with pytest.raises(DataError, match="not the text of the run"):
        resume_training(tmp_path / "r", str(tmp_path / "other.txt"))
    with pytest.raises(DataError, match="cannot resume .* with this corpus"):
        resume_training(tmp_path / "r", load_corpus(tmp_path / "other.txt"))
    assert resume_training(tmp_path / "r", overrides={"threads": 1, "kernel": "loop"}).report


def test_corpus_brings_the_settings_of_its_text(tmp_path: Path, book: Path) -> None:
    corpus = load_corpus(book, Config(vocab="bytes", split_ratios="80/10/10"))
    record = plan_training(corpus, CONFIG, tmp_path / "r").record
    assert (record.config.vocab, record.config.split_ratios) == ("bytes", "80/10/10")
    with pytest.raises(ConfigError, match="corpus was loaded with '80/10/10'"):
        plan_training(corpus, Config(split_ratios="98/1/1"), tmp_path / "r")


def test_run_records_the_recipe_of_its_cell(tmp_path: Path, book: Path) -> None:
    settings = {"cell": "gru", "hidden_size": 8, "embedding_dim": 4, "seq_len": 16}
    config = validate_config({**settings, "characters": 999})
    recipe = get_recipe("gru")
    run = train(book, config, tmp_path / "r")
    recorded = run.record.config
    assert recorded == apply_recipe(config, run.record.parameters, 999)
    assert (recorded.batch_size, recorded.grad_clip) == (recipe.batch_size, recipe.grad_clip)
    assert run.record.max_steps == 999 // (16 * recipe.batch_size)
    own = validate_config({**settings, "max_steps": 2, "learning_rate": 0.5, "batch_size": 3})
    recorded = plan_training(book, own, tmp_path / "own").record.config
    assert (recorded.learning_rate, recorded.batch_size) == (0.5, 3)
    assert recorded.recurrent_init == recipe.recurrent_init

    assert train(book, config, run.path, resume=True).report == run.report
    assert resume_training(run.path, overrides={"learning_rate": 0.0, "batch_size": 0}).report
    with pytest.raises(ConfigError, match="--batch-size 3"):
        resume_training(run.path, overrides={"batch_size": 3})


def test_finished_run_keeps_its_best_weights_alone(
    tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([3.0, 2.0, 4.0])  # the second is best, after 8 of 12 steps
    monkeypatch.setattr(loop, "validation_bpc", lambda *_: next(looks))
    config = msgspec.structs.replace(CONFIG, eval_every=4, keep="weights")
    run = train(book, config, tmp_path / "r")
    files = sorted(str(p.relative_to(run.path)) for p in run.path.rglob("*") if p.is_file())
    step = "checkpoints/step-00000008"
    assert files == [
        *(f"{step}/{name}" for name in ("manifest.json", "model.safetensors", "progress.json")),
        *("events.jsonl", "lock", "metrics.jsonl", "report.json", "run.json", "vocabulary.json"),
    ]
    assert run.report and run.load_checkpoint("best").sha256 == run.report.weights_sha256
    assert run.model().bias.isfinite().all()
    with pytest.raises(ConfigError, match=r"of step 8. Try .* or train with --keep all"):
        run.model("last")
    with (run.path / step / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"x")
    with pytest.raises(DataError, match="model.safetensors is damaged"):
        run.model()


def test_best_weights_of_the_last_step_are_the_last_ones(tmp_path: Path, book: Path) -> None:
    run = train(book, CONFIG, tmp_path / "r")
    assert run.load_checkpoint("last").progress.step == 12
    everything = train(book, msgspec.structs.replace(CONFIG, keep="all"), tmp_path / "all")
    assert len(everything.checkpoints) > 1
    assert everything.load_checkpoint("last").tensors["training"]
    assert everything.report and run.report
    assert everything.report.weights_sha256 == run.report.weights_sha256


def test_budget_in_minutes_limits_what_is_scored(tmp_path: Path, book: Path) -> None:
    config = validate_config({**TINY, "max_steps": 0, "minutes": 0.002})  # 200 characters
    record = plan_training(book, config, tmp_path / "r", started=time.monotonic() + 60).record
    start, end = record.text.splits["test"]
    assert record.config.test_chars == end - start == 200
    own = msgspec.structs.replace(config, test_chars=250)
    record = plan_training(book, own, tmp_path / "r", started=time.monotonic() + 60).record
    assert record.config.test_chars == 250


def test_plan_trains_nothing(tmp_path: Path, book: Path) -> None:
    summary = plan_training(str(book), CONFIG, tmp_path / "r")
    assert summary.record.max_steps == 12 and summary.seconds_per_step > 0
    assert summary.path == str(tmp_path / "r") and not (tmp_path / "r").exists()


def test_resumed_run_warns_of_another_kernel(
    tmp_path: Path, book: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = train(str(book), msgspec.structs.replace(CONFIG, keep="all"), tmp_path / "r")
    (run.path / "report.json").unlink()
    resume_training(run.path)
    assert "the last digits may differ" not in caplog.text
    (run.path / "report.json").unlink()
    resumed = resume_training(run.path, overrides={"kernel": "loop"})
    assert "the last digits may differ" in caplog.text
    assert resumed.report and resumed.report.kernel == "loop"
