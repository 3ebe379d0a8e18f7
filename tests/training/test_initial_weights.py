"""Tests of initial weights from another run: settings, vocabulary, rows, record, resuming."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from conftest import TINY, prose

from charlm.cli.train import open_source
from charlm.config import Config, validate_config
from charlm.config_file import load_settings, read_initial_run
from charlm.data.corpus import load_corpus, reload_corpus
from charlm.errors import ConfigError, DataError, InputNotFoundError
from charlm.evaluation.evaluate import evaluate
from charlm.models.build import build_char_lm
from charlm.runs.listing import describe_run
from charlm.runs.run import Run
from charlm.training.dry_run import plan_training, resolve_settings
from charlm.training.initial_weights import check_initial_run, find_weight_source, start_from
from charlm.training.session import resume_training, train
from charlm.training.settings_report import describe_run_settings

MODEL = {"cell": "gru", "hidden_size": 8, "embedding_dim": 4, "dropout": 0.1}
MODEL |= {"documents": "line"}  # how it reads a text
SETTINGS = {**TINY, **MODEL, "kernel": "loop", "max_steps": 6}
FINE = validate_config(
    {name: v for name, v in SETTINGS.items() if name not in (*MODEL, "recurrent_init")}
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, book: Path) -> Run:
    return train(str(book), validate_config(SETTINGS), tmp_path_factory.mktemp("s") / "source")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a text that has new characters and lacks some."""
    path = tmp_path_factory.mktemp("other") / "other.txt"
    text = prose(4000, seed=5)
    path.write_text(text.replace("e", "é").replace(text[0], "ß"))
    return path


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, source: Run, other: Path) -> Run:
    return train(str(other), FINE, tmp_path_factory.mktemp("t") / "tuned", init_from=source.path)


def test_model_is_inherited_and_training_is_not(source: Run, tuned: Run) -> None:
    config = tuned.record.config
    assert {name: getattr(config, name) for name in MODEL} == MODEL
    assert config.recurrent_init == source.record.config.recurrent_init
    assert (config.max_steps, config.learning_rate) == (6, TINY["learning_rate"])
    assert describe_run(tuned.path).start == "init_from"


def test_vocabulary_keeps_all_characters_of_the_source(
    source: Run, tuned: Run, other: Path
) -> None:
    initial, tokens = tuned.record.initial_weights, tuned.vocabulary.tokens
    known = source.vocabulary.tokens
    scratch = load_corpus(other).vocabulary.tokens
    assert tokens[: len(known)] == known and set(tokens) == {*known, *scratch}
    assert initial is not None and initial.run == str(source.path)
    assert initial.weights_sha256 == source.load_checkpoint("best").sha256
    assert initial.shared_tokens == len({*known} & {*scratch})
    assert initial.new_tokens == len({*scratch} - {*known}) > 0
    assert initial.kept_tokens == len({*known} - {*scratch}) > 0
    assert {ord("é"), ord("ß")} <= {*tokens[len(known) :]}


def test_rows_of_shared_characters_are_taken_and_new_ones_are_fresh(
    source: Run, other: Path, tuned: Run
) -> None:
    found = find_weight_source(source, FINE)
    assert found
    corpus = load_corpus(other, found.config, first_tokens=found.first_tokens)
    start = start_from(found, tuned.record, corpus).tensors
    old = source.load_checkpoint("best").tensors["model"]
    fresh = build_char_lm(tuned.record.config, corpus.vocabulary.size, "loop", "cpu").state_dict()
    known = len(source.vocabulary.tokens)
    assert start["training"] == {} and start["model"].keys() == old.keys()
    for name, tensor in start["model"].items():
        if name in ("embed.weight", "weight", "bias"):
            assert torch.equal(tensor[:known], old[name][:known])
            assert torch.equal(tensor[-1], old[name][-1])  # the unknown token
            assert torch.equal(tensor[known:-1], fresh[name][known:-1])
        else:
            assert torch.equal(tensor, old[name])


def test_same_text_begins_with_the_score_of_the_source(
    tmp_path: Path, book: Path, source: Run
) -> None:
    """Without a step of any size, the model is that of the source."""
    still = validate_config({"kernel": "loop", "learning_rate": 1e-12, "max_steps": 1})
    run = train(str(book), still, tmp_path / "still", init_from=source)
    assert run.vocabulary == source.vocabulary
    expected = evaluate(source, split="test").bits_per_char
    assert evaluate(run, split="test").bits_per_char == pytest.approx(expected, abs=1e-7)
    initial = run.record.initial_weights
    assert initial and (initial.new_tokens, initial.kept_tokens) == (0, 0)


def test_run_is_self_contained_and_reproducible(
    tmp_path: Path, source: Run, other: Path, tuned: Run
) -> None:
    """It is resumed to the bit without its source, also before its first checkpoint."""
    load_corpus(other)  # so that its own vocabulary is in the cache, too
    moved = Path(shutil.copytree(source.path, tmp_path / "source"))
    stopped = tmp_path / "stopped"

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(str(other), FINE, stopped, init_from=moved, on_start=stop)
    assert list(Run(stopped).checkpoints) == [0]
    shutil.rmtree(moved)
    resumed = resume_training(stopped)
    assert resumed.report and tuned.report
    assert resumed.report.weights_sha256 == tuned.report.weights_sha256
    again = train(str(other), FINE, tuned.path, resume=True, init_from=source.path)
    assert again.report == tuned.report
    corpus = reload_corpus(tuned.record.config, tuned.record.text)
    assert corpus.vocabulary == tuned.vocabulary
    with pytest.raises(ConfigError, match="it began with those of"):
        train(str(other), FINE, stopped, resume=True, init_from=source.path)
    with pytest.raises(ConfigError, match="it began with new weights"):
        train(str(other), FINE, source.path, resume=True, init_from=source.path)


def test_resumed_run_must_have_begun_with_the_same_weights(
    tmp_path: Path, source: Run, other: Path, tuned: Run
) -> None:
    """Its source may be written in another way, and it must not have been trained again."""
    detour = source.path / "checkpoints" / ".." / ".." / source.path.name
    check_initial_run(tuned, detour)
    record = train(str(other), FINE, tmp_path / "r", init_from=detour).record
    assert record.initial_weights == tuned.record.initial_weights
    initial = msgspec.structs.replace(tuned.record.initial_weights, weights_sha256="0" * 64)
    changed = Run(tuned.path)
    changed.record = msgspec.structs.replace(tuned.record, initial_weights=initial)
    with pytest.raises(ConfigError, match="they are .* and it began with 000000000000…"):
        check_initial_run(changed, source)


def test_settings_of_a_run_need_its_own_weights_however_the_path_is_typed(
    tmp_path: Path, source: Run, other: Path, tuned: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = Path(shutil.copytree(tuned.path, tmp_path / "changed"))
    sha256 = source.load_checkpoint("best").sha256
    file = changed / "run.json"
    file.write_text(file.read_text().replace(sha256, "0" * 64))
    monkeypatch.chdir(source.path.parent)
    for typed in (Path(source.path.name), source.path):
        with pytest.raises(DataError, match="those that were used before 000000000000…"):
            open_source(typed, {}, "", changed)
    assert open_source(Path(source.path.name), {}, "", tuned.path).checkpoint.sha256 == sha256


def test_corpus_that_was_loaded_gets_the_same_run(
    tmp_path: Path, source: Run, other: Path, tuned: Run
) -> None:
    corpus = load_corpus(other, msgspec.structs.replace(FINE, documents="line"))
    run = train(corpus, FINE, tmp_path / "r", init_from=source)
    assert run.record == tuned.record


def test_settings_of_a_run_name_its_source(
    tmp_path: Path, source: Run, other: Path, tuned: Run
) -> None:
    assert read_initial_run(tuned.path).run == str(source.path)
    settings = {s.name: s.value for s in describe_run_settings(tuned).settings}
    assert settings["init_from"] == str(source.path)
    again = train(str(other), tuned.path, tmp_path / "again")
    assert again.report and tuned.report
    assert again.report.weights_sha256 == tuned.report.weights_sha256
    file = tmp_path / "run.toml"
    file.write_text(f'init_from = "{source.path}"\nmax_steps = 3\n')
    assert "init_from" not in load_settings(file)
    assert resolve_settings(str(other), file).initial_weights == tuned.record.initial_weights
    file.write_text("init_from = 3\n")
    with pytest.raises(ConfigError, match=r"init_from = 3 \(.*run.toml, line 1\): .* a run"):
        resolve_settings(str(other), file)


def test_source_that_was_trained_again_is_refused(tmp_path: Path, source: Run, other: Path) -> None:
    moved = Path(shutil.copytree(source.path, tmp_path / "source"))
    run = train(str(other), FINE, tmp_path / "r", init_from=moved)
    shutil.rmtree(moved)
    train(str(other), validate_config(SETTINGS), moved)
    with pytest.raises(DataError, match="its weights are .* that were used before"):
        train(str(other), run.path, tmp_path / "again")


def test_dry_run_has_the_model_of_the_source(tmp_path: Path, source: Run, other: Path) -> None:
    summary = plan_training(str(other), FINE, tmp_path / "r", init_from=source.path)
    assert summary.config.hidden_size == 8 and summary.record.initial_weights
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_size": 9}, r"--hidden-size 9 \(it has 8\) with --init-from .*Leave it out"),
        ({"cell": "rnn"}, r"--cell rnn \(it has gru\)"),
        ({"vocab": "bytes"}, r"--vocab bytes \(it has chars\)"),
        ({"block": "residual"}, r"--block residual \(it has none\)"),
        ({"forget_bias": "chrono"}, r"--forget-bias chrono \(it has default\)"),
    ],
    ids=str,
)
def test_settings_that_contradict_the_weights_are_refused(
    tmp_path: Path, source: Run, other: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        train(str(other), Config(**settings), tmp_path / "r", init_from=source)
    assert not (tmp_path / "r").exists()


def test_damaged_or_missing_source_is_refused(tmp_path: Path, source: Run, other: Path) -> None:
    with pytest.raises(InputNotFoundError, match="no such run"):
        train(str(other), FINE, tmp_path / "r", init_from=tmp_path / "none")
    moved = Path(shutil.copytree(source.path, tmp_path / "source"))
    (file,) = (moved / "checkpoints").glob("*/model.safetensors")
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(DataError, match="model.safetensors is damaged"):
        train(str(other), FINE, tmp_path / "r", init_from=moved)
    assert not (tmp_path / "r").exists()


def test_bytes_have_no_new_rows(tmp_path: Path, book: Path, other: Path) -> None:
    config = validate_config({**SETTINGS, "vocab": "bytes", "max_steps": 2})
    source = train(str(book), config, tmp_path / "source")
    run = train(str(other), Config(max_steps=2, seq_len=16), tmp_path / "r", init_from=source)
    initial = run.record.initial_weights
    assert run.record.config.vocab == "bytes" and initial and initial.new_tokens == 0
    assert initial.shared_tokens + initial.kept_tokens == 256
