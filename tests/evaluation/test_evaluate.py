"""Evaluation of a run: splits, other texts, moved corpora."""

import math
from pathlib import Path

import msgspec
import pytest
from conftest import prose

from charlm.errors import ConfigError, DataError
from charlm.evaluation.evaluate import evaluate
from charlm.reporting.terminal.scores import print_score
from charlm.reporting.wording.text import describe_text_note
from charlm.runs.run import load_run


def test_test_split_has_the_score_of_the_report(trained: Path) -> None:
    run = load_run(trained)
    assert run.report is not None and run.report.score is not None
    evaluation = evaluate(run)
    for name, value in msgspec.structs.asdict(run.report.score).items():
        assert getattr(evaluation, name) == value, name
    assert evaluation.split == "test" and evaluation.characters == 300
    assert evaluation.weights_sha256 == run.report.weights_sha256
    assert evaluation.step == run.report.best_step
    assert evaluation.run_corpus_sha256 == evaluation.corpus_sha256
    assert evaluate(run, "valid").text_sha256 != evaluation.text_sha256


def test_other_text_is_scored_whole(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text(prose(900, seed=4))
    evaluation = evaluate(load_run(trained), text=tmp_path / "other.txt")
    assert evaluation.split is None and evaluation.characters == 900
    assert evaluation.corpus_sha256 == evaluation.text_sha256
    assert evaluation.run_corpus_sha256 != evaluation.corpus_sha256


def test_unknown_split_is_refused(trained: Path) -> None:
    with pytest.raises(ConfigError, match="unknown split 'half'"):
        evaluate(load_run(trained), "half")


def test_wrong_sources_are_refused(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text(prose(900, seed=4))
    with pytest.raises(DataError, match="is not the text of the run"):
        evaluate(load_run(trained), sources=tmp_path / "other.txt")


def test_line_ends_that_the_text_of_the_run_lacks_are_noted(trained: Path, tmp_path: Path) -> None:
    text = prose(900, seed=4)
    (tmp_path / "crlf.txt").write_bytes(text.replace("\n", "\r\n").encode())
    evaluation = evaluate(load_run(trained), text=tmp_path / "crlf.txt")
    assert [note.kind for note in evaluation.notes] == ["crlf", "unseen"]
    assert evaluation.unknown_tokens == text.count("\n")
    share = f"({text.count(chr(10)) / len(text.replace(chr(10), '..')):.2%})"
    assert share in describe_text_note(evaluation.notes[1])


def test_baselines_of_the_test_split_stand_beside_the_score(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation = evaluate(trained, baselines=True)
    measured = {result.name: result.bits_per_char for result in evaluation.baselines}
    assert measured.keys() >= {"uniform", "n-gram", "gzip", "xz"}
    vocabulary = load_run(trained).vocabulary
    assert measured["uniform"] == pytest.approx(math.log2(vocabulary.size))
    print_score(evaluation)
    shown = capsys.readouterr().out
    assert "  this run" in shown and "  n-gram " in shown
    table = shown[shown.index("  this run") :]
    assert all(len(line) <= 80 for line in table.splitlines())
    for split, text in (("valid", None), ("test", tmp_path / "t.txt")):
        with pytest.raises(ConfigError, match="those of the test split"):
            evaluate(trained, split, text=text, baselines=True)
