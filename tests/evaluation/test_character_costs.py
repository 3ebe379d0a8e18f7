"""Bits of each character: their sum, classes, files of records, and characters of bytes."""

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from conftest import prose
from untrained_models import encode_file, score_untrained

from charlm.errors import ConfigError, DataError, InputNotFoundError, OutputExistsError
from charlm.evaluation import evaluate as evaluation
from charlm.evaluation.characters import CharacterBits, CharacterCosts, display_character
from charlm.evaluation.classes import CLASSES, CharacterClassifier, ClassSums
from charlm.evaluation.evaluate import evaluate
from charlm.reporting.html.characters import MAX_CHARACTERS, PageRecords, render_characters
from charlm.results.costs import CharacterRecord, DynamicSettings
from charlm.runs.run import load_run

TEXT = "Der Hund sieht 12 alte Häuser (neu).\nÉ – ok\n"


def test_records_sum_to_the_score_and_describe_the_prediction(
    trained: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text(TEXT)
    (folder / "b.txt").write_text(prose(3000))  # more than a window
    path = tmp_path / "bits.jsonl"
    run = load_run(trained)
    report = evaluate(run, text=folder, per_char=path, by_class=True)
    decoder = msgspec.json.Decoder(CharacterRecord)
    records = decoder.decode_lines(path.read_bytes())
    assert "".join(record.character for record in records) == TEXT + prose(3000)
    assert [record.position for record in records] == list(range(len(TEXT) + 3000))
    files = [record.file for record in records]
    assert files == ["a.txt"] * len(TEXT) + ["b.txt"] * 3000
    bits = math.fsum(record.bits for record in records)
    assert report.bits_per_char is not None
    assert bits / len(records) == pytest.approx(report.bits_per_char, rel=1e-14)
    assert report.bits_per_char == evaluate(run, text=folder).bits_per_char
    unknown = [record for record in records if record.is_unknown]
    assert len(unknown) == report.unknown_tokens and all(record.bits > 20 for record in unknown)
    assert report.by_class is not None
    assert math.fsum(cost.bits for cost in report.by_class.classes) == pytest.approx(bits)
    assert sum(cost.characters for cost in report.by_class.classes) == len(records)
    assert math.fsum(cost.share_of_bits for cost in report.by_class.classes) == pytest.approx(1)
    # By the definition of each field, for the first character that is known.
    model = run.model().double()
    logits = model.next_token_logits(model.initial_state(1))[0].detach()
    probabilities = logits.softmax(0)
    target = run.vocabulary.encode(TEXT[0])[0]
    first = records[0]
    assert first.bits == pytest.approx(
        -math.log2(probabilities[target]) + 20.0875 * first.is_unknown, rel=1e-4
    )
    assert first.rank == 1 + int((probabilities > probabilities[target]).sum())
    entropy = -(probabilities * probabilities.log2()).sum()
    assert first.entropy == pytest.approx(float(entropy), rel=1e-5)
    assert first.likeliest == chr(run.vocabulary.tokens[int(logits.argmax())])


def test_split_names_the_file_of_each_character(trained: Path, book: Path) -> None:
    records: list[CharacterRecord] = []
    evaluate(load_run(trained), per_char=records.extend)
    assert {record.file for record in records} == {book.name} and len(records) == 300


@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_bits_of_bytes_add_up_to_those_of_characters(tmp_path: Path, cut: int) -> None:
    for data in (("é☃😀a\n" * 3).encode(), b"a\xff\xc3", "é".encode() + b"\xe2\x98"):
        _, _, vocabulary = score_untrained(tmp_path, data, vocab="bytes")
        encoding = encode_file(tmp_path / "text.txt", vocabulary)
        pieces: list[CharacterBits] = []
        costs = CharacterCosts(encoding, 0, "bytes", pieces.append)
        nats = torch.arange(1.0, len(data) + 1, dtype=torch.float64)[:, None] * math.log(2)
        for start in range(0, len(data), cut):
            costs.add(nats[start : start + cut])
        costs.finish()
        text = "".join(piece.text for piece in pieces)
        bits = np.concatenate([piece.bits for piece in pieces])
        assert text.encode("utf-8", "surrogateescape") == data
        if data[0] == 0x61 or data[-2:] == b"\xe2\x98":  # not UTF-8: a byte is a character
            assert bits.tolist() == pytest.approx([*range(1, len(data) + 1)])
        else:
            assert bits[:4].tolist() == pytest.approx([1 + 2, 3 + 4 + 5, 6 + 7 + 8 + 9, 10])
            assert bits.sum() == pytest.approx(len(data) * (len(data) + 1) / 2)
    assert display_character("\udcff") == "\\xff" and display_character("é") == "é"


def test_every_character_has_one_class_wherever_the_text_is_cut() -> None:
    expected = {
        "letters at word starts": "dcéа",
        "letters inside words": "efхllo",
        "upper case": "XÉ",
        "digits": "12",
        "whitespace": " \t  ",
        "line ends": "\r\n\n",
        "brackets": "()[]{}",
        "punctuation": "_.\0\"'<",
        "non-ASCII": "–€😀",
    }
    text = "def Xllo_c é 12\r\n\t()[]{}ах.\0\"'<É–€😀 \n"
    found = CharacterClassifier().classify(text).classes
    for name, characters in expected.items():
        for character in characters:
            assert CLASSES[found[text.rindex(character)]] == name, (name, character)
    for cut in range(len(text)):
        classifier = CharacterClassifier()
        pieces = [classifier.classify(part) for part in (text[:cut], text[cut:])]
        assert np.concatenate([piece.classes for piece in pieces]).tolist() == found.tolist()
    places = CharacterClassifier().classify("abc Def,g").places
    assert places.tolist() == [1, 2, 3, 0, 1, 2, 3, 0, 1]


def test_sums_by_class_have_their_bits() -> None:
    sums = ClassSums()
    sums.add(CharacterBits("ab ", np.array([4.0, 2.0, 1.0])))
    sums.add(CharacterBits("c\n", np.array([3.0, 0.0])))
    by_name = {cost.name: cost for cost in sums.result().classes}
    assert by_name["letters at word starts"].bits_per_char == 3.5
    assert by_name["letters at word starts"].share_of_bits == 0.7
    assert by_name["letters inside words"].share_of_characters == 0.2
    assert by_name["digits"].bits_per_char is None
    assert [cost.bits for cost in sums.result().word_positions[:3]] == [7.0, 2.0, 0.0]


def test_records_are_written_whole_or_not_at_all(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"bits\.csv: .*\.jsonl or \.parquet"):
        evaluate(trained, per_char=tmp_path / "bits.csv")
    (tmp_path / "bits.jsonl").write_text("mine")
    with pytest.raises(OutputExistsError, match="it exists"):
        evaluate(trained, per_char=tmp_path / "bits.jsonl")
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(DataError, match="it is empty"):
        evaluate(trained, text=tmp_path / "empty.txt", per_char=tmp_path / "new.jsonl")
    assert {path.name for path in tmp_path.iterdir()} == {"bits.jsonl", "empty.txt"}
    assert (tmp_path / "bits.jsonl").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"protocol": "char-rnn"}, DataError, "the text has 300 tokens, and it needs 2,500"),
        ({"dynamic": DynamicSettings()}, InputNotFoundError, "moved"),
        ({"baselines": True}, InputNotFoundError, "moved"),
    ],
)
def test_what_is_known_beforehand_is_refused_before_scoring(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    """Nothing is scored, and no file stays in the way of the corrected command."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("it was scored")

    def no_corpus(*_: object, **__: object) -> None:
        raise InputNotFoundError("the text was moved")

    monkeypatch.setattr(evaluation, "score_opened", fail)
    if error is InputNotFoundError:
        monkeypatch.setattr(evaluation, "reload_corpus", no_corpus)
    with pytest.raises(error, match=message):
        evaluate(trained, per_char=tmp_path / "bits.jsonl", **arguments)
    with pytest.raises(DataError, match="too long"):
        evaluate(trained, per_char=tmp_path / "bits.jsonl", on_length=too_long)
    assert not list(tmp_path.iterdir())


def too_long(characters: int) -> None:
    assert characters == 300
    raise DataError("too long")


def test_file_of_records_gets_its_name_after_the_last_step(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DataError("at the end")

    monkeypatch.setattr(evaluation, "measure_baselines", fail)
    with pytest.raises(DataError, match="at the end"):
        evaluate(trained, per_char=tmp_path / "bits.jsonl", baselines=True)
    assert not list(tmp_path.iterdir())
    (tmp_path / "bits.jsonl").symlink_to("nowhere")
    with pytest.raises(OutputExistsError, match="it exists"):
        evaluate(trained, per_char=tmp_path / "bits.jsonl")
    assert (tmp_path / "bits.jsonl").is_symlink()


def test_parquet_has_the_records_as_columns(trained: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    evaluate(trained, per_char=tmp_path / "x" / "y" / "bits.parquet")
    records: list[CharacterRecord] = []
    evaluate(trained, per_char=records.extend)
    table = parquet.read_table(tmp_path / "x" / "y" / "bits.parquet")
    assert table.to_pylist() == [msgspec.to_builtins(record) for record in records]


def test_parquet_without_pyarrow_names_the_command(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'charlm\[parquet\]'"):
        evaluate(trained, per_char=tmp_path / "bits.parquet")


def test_page_colors_and_escapes_each_character(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("<b>☃ & \x1b[1m\n")
    records = PageRecords("bits.html")
    report = evaluate(trained, text=tmp_path / "t.txt", per_char=records.add, by_class=True)
    page = render_characters(report, records.records, "lstm", "<t>.txt").decode()
    assert page.count('<s class="s') == len("<b>☃ & \x1b[1m\n") and "<script" not in page
    assert ">&lt;</s>" in page and "<b>☃" not in page and "\x1b" not in page
    assert "&lt;t&gt;.txt" in page and "not in the vocabulary" in page
    assert "letters at word starts" in page
    with pytest.raises(DataError, match="a page has room for 50,000 characters"):
        records.check_length(MAX_CHARACTERS + 1)


def test_json_has_what_was_asked_for(trained: Path) -> None:
    report = json.loads(msgspec.json.encode(evaluate(trained)))
    assert report["by_class"] is report["dynamic"] is report["as_program"] is None
    (row,) = evaluate(trained, by_class=True).to_dicts()
    assert "by_class" not in row and row["protocol"] == "one-stream"
