"""Tests of longer budgets: a run that goes on before its decay is the longer run, to the bit."""

import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from conftest import TINY, make_run

from charlm.config import Config, validate_config
from charlm.config_file import load_settings
from charlm.data.corpus import reload_corpus
from charlm.errors import ConfigError, DataError, LockedError
from charlm.results.run import RunSummary
from charlm.results.training import BranchMetrics
from charlm.runs.cleanup import clean
from charlm.runs.listing import describe_run
from charlm.runs.metrics import iter_events, iter_metrics, load_branches, load_validation_curve
from charlm.runs.run import Run
from charlm.storage.lock import exclusive_lock
from charlm.storage.usage import measure_usage
from charlm.training import longer_budget
from charlm.training.completion import restore_trainer
from charlm.training.estimates import EXIT_SECONDS, RunTimings
from charlm.training.longer_budget import extend_run, longer_run_dir, plan_extension
from charlm.training.loop import run_training_loop
from charlm.training.schedule import branch_steps
from charlm.training.session import resume_training, train

SETTINGS = {**TINY, "max_steps": 20, "warmup_steps": 9, "eval_every": 5, "dropout": 0.2}
LONGER = 40
START, _ = branch_steps(20)


def config(**settings: object) -> Config:
    return validate_config({**SETTINGS, "kernel": "loop", **settings})


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory, book: Path) -> Run:
    return train(str(book), config(branches="1/4"), tmp_path_factory.mktemp("short") / "first")


@pytest.fixture(scope="module")
def longer(short: Run, book: Path) -> Run:
    return resume_training(short.path, overrides={"max_steps": LONGER})


def weights(run: Run) -> str:
    return run.load_checkpoint("best").sha256


def test_longer_run_is_the_run_of_that_budget(tmp_path: Path, book: Path, longer: Run) -> None:
    """Its settings remake it from the first step, with the same weights."""
    assert longer.path.name == "first-40-steps"
    whole = train(str(book), longer.path, tmp_path / "whole")
    assert whole.record.config.warmup_steps == 2 and whole.record.extends is None
    assert weights(whole) == weights(longer)
    assert longer.report and whole.report and longer.report.score == whole.report.score
    own = [m for m in iter_metrics(longer.path) if not isinstance(m, BranchMetrics)]
    assert own == list(iter_metrics(whole.path))
    curves = [load_validation_curve(run.path) for run in (longer, whole)]
    assert [p.characters for p in curves[0]] == [p.characters for p in curves[1]]


def test_longer_run_records_what_it_goes_on_from(short: Run, longer: Run) -> None:
    extends = longer.record.extends
    assert extends and (extends.run, extends.max_steps) == (str(short.path), 20)
    assert (extends.start_step, extends.redone_steps, extends.decay_start) == (START, 6, 28)
    kept = short.load_before_decay()
    assert kept and extends.weights_sha256 == kept.sha256
    assert longer.record.max_steps == longer.record.config.max_steps == LONGER
    assert "branches" not in load_settings(longer.path) or not longer.record.config.branches
    listed = describe_run(longer.path)
    assert (listed.start, listed.step, listed.max_steps) == ("longer", LONGER, LONGER)
    assert describe_run(short.path).start == "new"
    assert [event.event for event in iter_events(longer.path)][0] == "started"


def test_shorter_run_is_a_branch_of_the_longer_one(short: Run, longer: Run) -> None:
    first, whole = load_branches(longer.path)
    (own,) = load_branches(short.path)
    assert (first.fraction, first.step, first.valid_bits) == (1 / 8, 5, own.valid_bits)
    last = load_validation_curve(short.path)[-1]
    assert (whole.fraction, whole.step) == (1 / 2, 20)
    assert (whole.characters, whole.valid_bits) == (last.characters, last.bits)


def test_same_call_returns_the_longer_run_and_the_shorter_stays(
    book: Path, short: Run, longer: Run
) -> None:
    before = weights(short)
    same = train(str(book), config(branches="1/4", max_steps=LONGER), short.path, resume=True)
    assert same.path == longer.path and same.report == longer.report
    assert short.report and weights(short) == before
    assert train(str(book), config(branches="1/4"), short.path, resume=True).path == short.path


@pytest.mark.parametrize(
    ("budget", "name"),
    [
        ({"max_steps": 4000}, "first-4000-steps"),
        ({"max_steps": 1234567}, "first-1234567-steps"),  # 1234568 is another one
        ({"epochs": 2.0}, "first-2-epochs"),
        ({"epochs": 2.5}, "first-2.5-epochs"),
    ],
)
def test_directory_of_a_longer_run_is_beside_the_run_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: dict[str, Any], name: str
) -> None:
    run = tmp_path / "first"
    (run / "checkpoints").mkdir(parents=True)
    assert longer_run_dir(run, budget) == tmp_path / name
    monkeypatch.chdir(tmp_path)
    assert longer_run_dir(Path("first"), budget) == Path(name)
    for directory, typed in ((run, "."), (run / "checkpoints", "..")):
        monkeypatch.chdir(directory)
        assert longer_run_dir(Path(typed), budget) == tmp_path / name


@pytest.mark.parametrize("stop_after", [10, START, START + 3])
def test_stopped_run_goes_on_from_before_its_decay(
    tmp_path: Path, book: Path, longer: Run, stop_after: int
) -> None:
    run, corpus, settings = make_run(tmp_path / "r", book, **{**SETTINGS, "kernel": "loop"})
    trainer, _ = restore_trainer(run, "cpu", settings)
    list(run_training_loop(run, trainer, corpus, stop=lambda: trainer.step == stop_after))
    summaries: list[RunSummary] = []
    extended = resume_training(
        run.path,
        overrides={"max_steps": LONGER},
        longer_dir=tmp_path / "l",
        on_start=summaries.append,
    )
    assert summaries[0].steps_done == min(stop_after, START)
    with pytest.raises(ConfigError, match="or no budget, with which the stopped run goes on"):
        resume_training(run.path, overrides={"max_steps": 19}, longer_dir=tmp_path / "s")
    assert weights(extended) == weights(longer)
    with exclusive_lock(run.path), pytest.raises(LockedError):
        resume_training(run.path, overrides={"max_steps": 60})


def test_longer_run_that_is_stopped_is_resumed(tmp_path: Path, book: Path, longer: Run) -> None:
    path = Path(shutil.copytree(longer.path, tmp_path / "first-40-steps"))
    (path / "report.json").unlink()
    run = Run(path)
    state = run.load_before_decay()
    assert state and state.progress.step == 28
    # As if it was killed after the first checkpoint of this state.
    for directory in run.checkpoints.values():
        shutil.rmtree(directory)
    shutil.copytree(path / "before-decay" / "step-00000028", path / "checkpoints/step-00000028")
    resumed = resume_training(path)
    assert weights(resumed) == weights(longer)


def test_budget_in_minutes_counts_from_now(short: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(longer_budget, "measure_timings", lambda *_: RunTimings(0.25, 1e-9, 1e-9))
    monkeypatch.setattr(time, "monotonic", lambda: 112.0)
    extension = plan_extension(short, short.record.config, {"minutes": 1.0})
    corpus = reload_corpus(short.record.config, short.record.text)
    record, start = extend_run(extension, corpus, "cpu", 102.0)
    assert record.max_steps == START + int((60 - 10 - EXIT_SECONDS) / 0.25) - 1  # scores
    assert record.config.minutes == 1.0 and start.progress.step == START


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"max_steps": 19}, "budget of 19 steps: it has 20, and a budget can only be raised"),
        ({"characters": 20 * 64}, "budget of 20 steps: it has 20"),
        ({"max_steps": 40, "seed": 1}, r"--seed 1 \(the run has 0\)"),
    ],
    ids=str,
)
def test_budget_can_only_be_raised(
    tmp_path: Path, short: Run, overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        resume_training(short.path, overrides=overrides, longer_dir=tmp_path / "l")
    assert not (tmp_path / "l" / "run.json").exists()


def test_finished_run_without_intact_weights_names_a_larger_budget(
    tmp_path: Path, short: Run
) -> None:
    run = Run(shutil.copytree(short.path, tmp_path / "first"))
    (path,) = run.checkpoints.values()
    (path / "model.safetensors").write_bytes(b"junk")
    remedy = rf"before the decay is intact.* --resume {run.path} --max-steps 40 --run NEW"
    with pytest.raises(DataError, match=f"no other checkpoint is intact.*{remedy}"):
        resume_training(run.path)
    shutil.rmtree(run.path / "checkpoints")
    with pytest.raises(DataError, match=f"has finished, but its weights are missing.*{remedy}"):
        resume_training(run.path)
    (state,) = (run.path / "before-decay").iterdir()
    (state / "training.safetensors").write_bytes(b"junk")
    with pytest.raises(DataError, match="weights are missing. Train the run again"):
        resume_training(run.path)
    with pytest.raises(DataError, match="training.safetensors is damaged: .*from a backup, or"):
        resume_training(run.path, overrides={"max_steps": LONGER})


def test_run_without_the_state_before_its_decay_is_refused(
    tmp_path: Path, book: Path, short: Run
) -> None:
    path = Path(shutil.copytree(short.path, tmp_path / "first"))
    plan = clean([path])
    assert str(path / "before-decay") in {item.path for item in plan.surplus}
    clean([path], remove=True)
    assert Run(path).report and Run(path).load_before_decay() is None
    with pytest.raises(ConfigError, match=r"not kept \(--keep state\). Try --init-from"):
        resume_training(path, overrides={"max_steps": 40})
    linear = train(str(book), config(lr_schedule="linear", max_steps=4), tmp_path / "linear")
    assert not (linear.path / "before-decay").exists()
    with pytest.raises(ConfigError, match=r"over the whole budget \(linear\).*Try --init-from"):
        resume_training(linear.path, overrides={"max_steps": 40})
    new, _, _ = make_run(tmp_path / "new", book)
    with pytest.raises(ConfigError, match="no checkpoint yet"):
        resume_training(new.path, overrides={"max_steps": 40})
    new.mark_diverged("step 3: the loss is nan")
    with pytest.raises(ConfigError, match="it diverged"):
        resume_training(new.path, overrides={"max_steps": 40})


def test_damaged_state_is_refused(tmp_path: Path, short: Run) -> None:
    path = Path(shutil.copytree(short.path, tmp_path / "first"))
    (file,) = (path / "before-decay").glob("*/training.safetensors")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"training.safetensors is damaged: its SHA-256 is"):
        resume_training(path, overrides={"max_steps": 40})
    assert not (tmp_path / "first-40-steps" / "run.json").exists()


def test_state_takes_the_size_of_a_checkpoint(tmp_path: Path, book: Path, short: Run) -> None:
    small = train(str(book), config(keep="weights", max_steps=4), tmp_path / "small")
    assert not (small.path / "before-decay").exists()
    state = measure_usage(short.path / "before-decay").size
    (best,) = short.checkpoints.values()
    # Weights and two moments, beside weights; manifests and headers are alike.
    assert 1.5 < state / measure_usage(best).size < 4


def test_text_of_another_run_is_refused(tmp_path: Path, short: Run) -> None:
    (tmp_path / "other.txt").write_text("something else " * 500)
    with pytest.raises(DataError, match="not the text of the run"):
        resume_training(short.path, tmp_path / "other.txt", overrides={"max_steps": 40},
                        longer_dir=tmp_path / "l")  # fmt: skip
    assert reload_corpus(short.record.config, short.record.text).record == short.record.text
    assert msgspec.structs.replace(short.record, extends=None) == short.record
