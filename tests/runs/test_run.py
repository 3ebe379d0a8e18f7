"""Tests of run directories: opening, refusing, restoring a model."""

import json
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
from charlm.runs.creation import check_not_existing, create_run
from charlm.runs.run import Run, load_run
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
        "Use a newer charlm"
    )
    with pytest.raises(ConfigError) as raised:
        Run(run.path)
    assert str(raised.value) == expected
    older = '{"format": 5, "environment": {"charlm": "0.2.0", "gpus": 9}}'
    path.write_text(older)
    with pytest.raises(ConfigError, match="Train it again, or use charlm 0.2.0, which made it$"):
        Run(run.path)


def test_run_of_format_3_is_refused_before_other_files_are_read(run: Run) -> None:
    (run.path / "run.json").write_text('{"format": 3, "config": {"hidden": 9}}')
    (run.path / "vocabulary.json").unlink()  # format 3 had alphabet.json
    with pytest.raises(ConfigError, match="it has format 3, this charlm reads format 6"):
        Run(run.path)


@pytest.mark.parametrize("setting", ["learning_rate", "batch_size", "grad_clip"])
def test_setting_that_is_left_to_the_recipe_is_damage(run: Run, setting: str) -> None:
    path = run.path / "run.json"
    record = json.loads(path.read_bytes())
    record["config"][setting] = 0
    path.write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"run.json is damaged: .*to the recipe"):
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
    check_not_existing(tmp_path / "nothing")


def leave_behind(path: Path, names: list[str]) -> None:
    """Write files as a creation that was killed has left them."""
    for name in ["lock", *names]:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("process 1 on host")


CHECKPOINT = [
    f"checkpoints/step-00000014/{name}"
    for name in ("model.safetensors", "training.safetensors", "progress.json", "manifest.json")
]


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["metrics.jsonl", "events.jsonl"],
        [".tmp-run.json-1-0123abcd", "vocabulary.json"],
        ["metrics.jsonl", *CHECKPOINT, "checkpoints/.tmp-step-00000014-1-0123abcd/progress.json"],
    ],
)
def test_directory_of_a_killed_creation_is_used_again(
    tmp_path: Path, run: Run, names: list[str]
) -> None:
    path = tmp_path / "started"
    leave_behind(path, names)
    created = create_run(path, run.record, run.vocabulary)
    assert not created.checkpoints and not (path / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    "names",
    [
        ["checkpoints/precious/file.txt"],
        ["checkpoints/notes.txt"],
        ["checkpoints/.tmp-mine"],
        [".tmp-mine"],
        [*CHECKPOINT, "checkpoints/step-00000014/notes.txt"],
        [*CHECKPOINT, *(name.replace("14", "20") for name in CHECKPOINT)],  # it was a run
    ],
)
@pytest.mark.parametrize("has_lock", [True, False])
def test_nothing_foreign_is_removed(
    tmp_path: Path, run: Run, names: list[str], has_lock: bool
) -> None:
    path = tmp_path / "mine"
    leave_behind(path, ["metrics.jsonl", *names])
    if not has_lock:
        (path / "lock").unlink()
    before = sorted(path.rglob("*"))
    with pytest.raises(OutputExistsError, match="it exists. Try another path"):
        create_run(path, run.record, run.vocabulary)
    assert sorted(path.rglob("*")) == before


@pytest.mark.parametrize("name", ["metrics.jsonl", "events.jsonl", "vocabulary.json"])
def test_files_that_no_lock_shows_to_be_of_charlm_are_kept(
    tmp_path: Path, run: Run, name: str
) -> None:
    leave_behind(tmp_path / "mine", [name])
    for lock in ("absent", "foreign"):
        (tmp_path / "mine" / "lock").unlink()
        if lock == "foreign":
            (tmp_path / "mine" / "lock").write_text("mine")
        with pytest.raises(OutputExistsError):
            create_run(tmp_path / "mine", run.record, run.vocabulary)
        (tmp_path / "mine" / "lock").touch()
    assert (tmp_path / "mine" / name).read_text()


def test_links_out_of_the_directory_are_not_followed(tmp_path: Path, run: Run) -> None:
    leave_behind(tmp_path / "other", CHECKPOINT)
    leave_behind(tmp_path / "mine", [])
    (tmp_path / "mine" / "checkpoints").symlink_to(tmp_path / "other" / "checkpoints")
    with pytest.raises(OutputExistsError):
        create_run(tmp_path / "mine", run.record, run.vocabulary)
    assert (tmp_path / "other" / CHECKPOINT[0]).exists()


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
