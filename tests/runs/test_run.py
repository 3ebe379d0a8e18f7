"""Tests of run directories: opening, refusing, restoring a model."""

from pathlib import Path

import pytest
import torch
from conftest import make_run

from charlm.config import FORMAT_VERSION
from charlm.errors import ConfigError, DataError, InputNotFoundError, OutputExistsError
from charlm.evaluation.evaluate import evaluate
from charlm.evaluation.generation import generate
from charlm.inspection.inspect_run import inspect
from charlm.probes.batch import probe
from charlm.runs.run import Run, check_not_existing, load_run
from charlm.training.completion import restore_trainer
from charlm.training.loop import run_training_loop


@pytest.fixture
def run(tmp_path: Path, book: Path) -> Run:
    return make_run(tmp_path / "run", book)[0]


def test_run_of_another_format_is_refused_in_one_line(run: Run) -> None:
    path = run.path / "run.json"
    path.write_text(path.read_text().replace(f'"format": {FORMAT_VERSION}', '"format": 99'))
    expected = (
        f"cannot open {run.path}: it has format 99, this charlm reads format {FORMAT_VERSION}. "
        "Train it again"
    )
    with pytest.raises(ConfigError) as raised:
        Run(run.path)
    assert str(raised.value) == expected


def test_run_of_format_3_is_refused_before_other_files_are_read(run: Run) -> None:
    (run.path / "run.json").write_text('{"format": 3, "config": {"hidden": 9}}')
    (run.path / "vocabulary.json").unlink()  # format 3 had alphabet.json
    with pytest.raises(ConfigError, match="it has format 3, this charlm reads format 5"):
        Run(run.path)


@pytest.mark.parametrize("tokens", ["[97, 97]", "[55296]", "[-1]", "[1114112]", '["a"]'])
def test_invalid_vocabulary_is_damage(run: Run, tokens: str) -> None:
    path = run.path / "vocabulary.json"
    path.write_text(f'{{"kind": "chars", "tokens": {tokens}}}')
    with pytest.raises(DataError, match="vocabulary.json is damaged"):
        Run(run.path)


def test_directory_that_is_no_run_is_missing_input(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="there is no such run"):
        Run(tmp_path / "none")
    with pytest.raises(InputNotFoundError, match="it is not a run"):
        Run(tmp_path)


def test_run_is_not_overwritten_but_a_killed_start_is(tmp_path: Path, run: Run) -> None:
    with pytest.raises(OutputExistsError, match=f"Try --resume {run.path} to continue the run"):
        check_not_existing(run.path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(OutputExistsError, match="it exists. Try another path"):
        check_not_existing(tmp_path / "other")
    (tmp_path / "started").mkdir()
    (tmp_path / "started" / "vocabulary.json").touch()
    (tmp_path / "started" / ".tmp-run.json-1-0123abcd").touch()
    check_not_existing(tmp_path / "started")
    check_not_existing(tmp_path / "nothing")


def test_model_of_a_run_has_the_best_weights(tmp_path: Path, book: Path) -> None:
    run, corpus, config = make_run(tmp_path / "r", book, eval_every=3)
    trainer, _ = restore_trainer(run, "cpu", config)
    list(run_training_loop(run, trainer, corpus))
    opened = load_run(str(run.path))
    model = opened.model()
    assert isinstance(model, torch.nn.Module) and not model.training
    best = opened.load_checkpoint("best").tensors["model"]
    assert all(torch.equal(value, best[name]) for name, value in model.state_dict().items())
    ids = torch.zeros(5, 2, dtype=torch.long)
    logits, _ = model(ids, model.initial_state(2))
    assert logits.shape == (5, 2, opened.vocabulary.size)


def test_unknown_checkpoint_is_refused(run: Run) -> None:
    with pytest.raises(ConfigError, match="cannot read checkpoint 'newest'"):
        run.load_checkpoint("newest")  # type: ignore[arg-type]


def test_automatic_device_of_a_model_is_resolved(tmp_path: Path, book: Path) -> None:
    run, corpus, config = make_run(tmp_path / "r", book)
    trainer, _ = restore_trainer(run, "cpu", config)
    list(run_training_loop(run, trainer, corpus))
    threads = torch.get_num_threads()
    model = Run(str(run.path)).model(device="auto")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert next(model.parameters()).device.type == expected
    assert torch.get_num_threads() == threads


def test_run_may_be_given_by_its_directory(trained: Path, tmp_path: Path) -> None:
    run = load_run(trained)
    assert evaluate(str(trained)) == evaluate(run)
    assert generate(trained, "The ", 9) == generate(run, "The ", 9)
    assert inspect(str(trained), "The cat") == inspect(run, "The cat")
    report = probe(trained, ["context-shuffle"], max_chars=500, out=tmp_path / "probes")
    assert report == probe([run], ["context-shuffle"], max_chars=500, out=tmp_path / "probes")
