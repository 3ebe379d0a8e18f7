"""Corpora: exact splits, a vocabulary from training alone, the same text again or an error."""

import math
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from conftest import prose

from charlm.config import Config, validate_config
from charlm.data.corpus import Corpus, load_corpus, reload_corpus
from charlm.data.vocabulary import UNICODE_CODE_POINTS
from charlm.errors import ConfigError, DataError
from charlm.settings.values import parse_split_ratios


def corpus_of(path: Path, data: bytes | str, **settings: object) -> Corpus:
    file = path / "text.txt"
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    return load_corpus(file, validate_config(settings))


def decode(corpus: Corpus, split: str) -> str:
    return corpus.encoding.text(*corpus.record.splits[split])


def test_sources_are_a_name_a_path_or_several(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text(prose(300))
    for sources in (file, str(file), [file], [str(file)]):
        assert load_corpus(sources).record == load_corpus(file, Config()).record
    assert load_corpus([file, str(file)]).record.characters == 600


def test_progress_counts_bytes_of_both_passes(tmp_path: Path) -> None:
    counts: list[int] = []

    class Recorder:
        def counter(self, description: str):
            assert description == "reading the text"
            return nullcontext(counts.append)

    (tmp_path / "a.txt").write_text("progress is counted" * 10)
    load_corpus(tmp_path / "a.txt", progress=Recorder())  # type: ignore[arg-type]
    assert sum(counts) == 2 * 190


def test_cache_is_keyed_by_content_and_repairs_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "a.txt"
    file.write_text("first" * 20)
    first = load_corpus([str(file)], validate_config({}))
    file.write_text("other" * 20)  # same name, same length
    other = load_corpus([str(file)], validate_config({}))
    assert decode(first, "train") == "first" * 18 and decode(other, "train") == "other" * 18
    for path in (tmp_path / "cache").glob("*.ids"):
        path.write_bytes(b"\1" * path.stat().st_size)
    assert decode(load_corpus([str(file)], validate_config({})), "train") == "other" * 18


def test_file_of_the_user_may_vanish_meanwhile(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, prose(5000))
    (tmp_path / "text.txt").write_bytes(b"")
    assert decode(corpus, "train") == prose(5000)[:4500]


# splits and vocabulary


def test_splits_are_contiguous_and_cut_in_characters(tmp_path: Path) -> None:
    text = prose(999) + "é" * 112
    in_characters = corpus_of(tmp_path, text)
    assert decode(in_characters, "train") == text[:999]
    assert decode(in_characters, "valid") == text[999:1055]
    assert decode(in_characters, "test") == text[1055:]
    in_bytes = corpus_of(tmp_path, text, vocab="bytes")
    for split in ("train", "valid", "test"):
        assert bytes(in_bytes.split(split).tolist()).decode() == decode(in_characters, split)
    assert parse_split_ratios("90/5/5") == parse_split_ratios("0.9/0.05/0.05")


def test_split_of_tiny_shakespeare_is_the_published_one() -> None:
    train, _, _ = parse_split_ratios("90/5/5")
    assert int(1_115_394 * train) == 1_003_854


def test_corpus_is_shared_by_splits_without_a_file(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("valid!")
    corpus = corpus_of(tmp_path, prose(950), valid_file=str(tmp_path / "v.txt"))
    assert decode(corpus, "train") == prose(950)[:900]
    assert decode(corpus, "valid") == "valid!"
    assert decode(corpus, "test") == prose(950)[900:]
    assert "!" not in map(chr, corpus.vocabulary.tokens)
    # the same bytes, split differently, are another corpus
    concatenated = corpus_of(tmp_path, prose(950) + "valid!")
    assert concatenated.record.digest.sha256 == corpus.record.digest.sha256
    assert concatenated.record.splits != corpus.record.splits


def test_settings_of_a_corpus_reproduce_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v.txt").write_text("valid!")
    corpus = corpus_of(tmp_path, prose(950), valid_file="v.txt", split_ratios="80/10/10")
    assert corpus.settings["valid_file"] == str(tmp_path / "v.txt")
    again = load_corpus(tmp_path / "text.txt", validate_config(dict(corpus.settings)))
    assert again.record == corpus.record


def test_vocabulary_is_of_the_training_split_alone(tmp_path: Path) -> None:
    text = "ab" * 45 + "c" * 5 + "d" * 5
    corpus = corpus_of(tmp_path, text)
    assert corpus.vocabulary.tokens == (ord("a"), ord("b"))
    assert corpus.vocabulary.unk_id == 2 and corpus.vocabulary.size == 3
    assert corpus.vocabulary.encode("abcz") == [0, 1, 2, 2]
    assert corpus.vocabulary.unk_cost_nats == math.log(1_114_112) == math.log(UNICODE_CODE_POINTS)
    in_bytes = corpus_of(tmp_path, text, vocab="bytes")
    assert in_bytes.vocabulary.size == 256 and in_bytes.vocabulary.unk_id is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a", r"too short to cut into 90/5/5 \(train would be"),
        ("abc", "too short"),
    ],
)
def test_too_little_text_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        corpus_of(tmp_path, text)


def test_empty_split_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("")
    with pytest.raises(DataError, match="v.txt is empty"):
        corpus_of(tmp_path, prose(950), valid_file=str(tmp_path / "v.txt"))


def test_split_file_cannot_be_standard_input(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="standard input"):
        corpus_of(tmp_path, prose(950), test_file="-")


@pytest.mark.parametrize("split", ["90/10", "a/b/c", "90/0/10", "90/-5/15", "nan/5/5", "1/0/0", ""])
def test_split_ratios_are_three_positive_numbers(split: str) -> None:
    with pytest.raises(ConfigError, match="--split"):
        validate_config({"split_ratios": split})


def test_run_finds_its_text_again_or_refuses_another(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, prose(3000))
    config = validate_config({})
    assert np.array_equal(reload_corpus(config, corpus.record).split("test"), corpus.split("test"))
    other = tmp_path / "other.txt"
    other.write_text(prose(3000, seed=1))
    with pytest.raises(DataError, match="is not the text of the run"):
        reload_corpus(config, corpus.record, [str(other)])
    moved = tmp_path / "moved.txt"
    moved.write_text(prose(3000))
    assert np.array_equal(
        reload_corpus(config, corpus.record, moved).split("test"), corpus.split("test")
    )
