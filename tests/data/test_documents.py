"""Tests of documents: where they begin in a text, by file and by separator."""

from pathlib import Path

import numpy as np
import pytest

from charlm.config import validate_config
from charlm.data.batches import BatchSampler
from charlm.data.corpus import Corpus, load_corpus
from charlm.data.documents import SeparatorStarts
from charlm.data.stored_ids import StoredIds, read_starts
from charlm.errors import CharlmError, DataError

POEM = "ab.\n\ncd.\n\n\nef.\n" * 40


def load(path: Path, documents: str, **settings: object) -> Corpus:
    return load_corpus(path, validate_config({"documents": documents, **settings}))


def all_starts(ids: StoredIds) -> list[int]:
    assert ids.documents is not None
    return np.flatnonzero(ids.documents.mark(ids, 0, len(ids))).tolist()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(9):
        (tmp_path / f"{number}.txt").write_text(f"{number} is a file.\n" * (number + 1))
    (tmp_path / "3.txt").write_text("")  # no document
    return tmp_path


@pytest.mark.parametrize("separator", ["\n\n", "\n", "d.\n", "ef."])
@pytest.mark.parametrize("vocab", ["chars", "bytes"])
def test_documents_begin_after_each_separator(tmp_path: Path, separator: str, vocab: str) -> None:
    (tmp_path / "poem").write_text(POEM)
    setting = "line" if separator == "\n" else separator
    train = load(tmp_path / "poem", setting, vocab=vocab).stored_split("train")
    text = POEM[: len(train)]
    expected = [n for n in range(1, len(text)) if text[:n].endswith(separator)]
    assert all_starts(train) == expected and len(expected) > 30


def test_documents_are_the_files_of_a_folder(folder: Path) -> None:
    corpus = load(folder, "file", split_by="position", split_ratios="60/20/20")
    lengths = [len(f"{n} is a file.\n") * (n + 1) for n in range(9) if n != 3]
    edges = np.cumsum([0, *lengths])
    for split, (start, end) in corpus.record.splits.items():
        expected = [edge - start for edge in edges if start <= edge < end]
        assert all_starts(corpus.stored_split(split)) == expected, split


@pytest.mark.parametrize("setting", ["file", "s a file.\n1", "line"])
def test_starts_do_not_depend_on_what_is_read_at_once(folder: Path, setting: str) -> None:
    ids = load(folder, setting, split_by="position").stored_split("train")
    assert ids.documents
    whole = ids.documents.mark(ids, 0, len(ids))
    for length in (1, 2, 7):
        pieces = [
            ids.documents.mark(ids, n, min(n + length, len(ids)))
            for n in range(0, len(ids), length)
        ]
        assert np.concatenate(pieces).tolist() == whole.tolist()
    span = ids.span(30, 200)
    assert span.documents
    later = span.documents.mark(span, 20, 170)
    assert later.tolist() == whole[50:200].tolist()
    rows = read_starts(ids, np.array([3, 40]), 25)
    assert rows is not None and rows.tolist() == [whole[3:28].tolist(), whole[40:65].tolist()]


def test_batches_mark_tokens_that_begin_a_document(folder: Path) -> None:
    ids = load(folder, "line", split_by="position").stored_split("train")
    batches = BatchSampler(ids, 3, 11, 0)
    for step in range(batches.windows + 1):
        x, _, _, starts = batches[step]
        assert starts is not None and starts.shape == (12, 3)
        newline = ids[:30].tolist()[len("0 is a file.")]
        assert (starts[1:] == (x == newline)).all()
    assert BatchSampler(np.asarray(ids), 3, 11, 0)[0].starts is None


@pytest.mark.parametrize("separator", ["\n\n", ".\n\nc", "ef.\nab."])
def test_separator_that_reaches_into_a_span_begins_a_document_there(
    tmp_path: Path, separator: str
) -> None:
    """It is found wherever a split is cut, and in parts of the split, but not before its start."""
    (tmp_path / "poem").write_text(POEM)
    ids = load(tmp_path / "poem", separator, split_by="position").encoding.ids
    whole = [n for n in range(1, len(POEM)) if POEM[:n].endswith(separator)]
    for start in range(1, 30):
        span = ids.span(start, 200)
        expected = [n - start for n in whole if start < n < 200]
        assert all_starts(span) == expected, start
        assert all_starts(span.span(0, 50)) == [n for n in expected if n < 50], start
        nested = span.span(2, 90)
        assert all_starts(nested) == [n - 2 for n in expected if 2 < n < 90], start


def test_no_separator_lies_in_two_files_that_are_splits(tmp_path: Path) -> None:
    (tmp_path / "train").write_text(POEM)
    (tmp_path / "valid").write_text("\n" + POEM)
    valid = str(tmp_path / "valid")
    corpus = load(tmp_path / "train", "\n\n", valid_file=valid, test_file=valid)
    for split in ("valid", "test"):
        assert all_starts(corpus.stored_split(split))[0] == len("\nab.\n\n"), split


def test_documents_are_none_by_default(folder: Path) -> None:
    assert load_corpus(folder).stored_split("train").documents is None


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("file", "is a single file. Try --documents none"),
        ("###", "lacks a character of it, or has it too rarely. Try a separator that"),
        ("\\n\\n", "Try --documents $'\\n\\n', which bash reads"),
        ("fe", "does not have the separator 'fe'"),
    ],
)
def test_text_without_documents_is_refused(tmp_path: Path, setting: str, message: str) -> None:
    (tmp_path / "poem").write_text(POEM)
    with pytest.raises(DataError) as error:
        load(tmp_path / "poem", setting)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_empty_separator_is_refused() -> None:
    with pytest.raises(CharlmError, match="--documents"):
        validate_config({"documents": ""})


@pytest.mark.parametrize("setting", ["files", "lines", "Line", "FILE", "None", " file"])
def test_word_in_another_form_is_no_separator(setting: str) -> None:
    with pytest.raises(CharlmError, match=r"did you mean (file|line|none)\?"):
        validate_config({"documents": setting})
    for other in ("file\n\n", "END", "<|file|>", "fe", "one", "tile", "life", "fine"):
        assert validate_config({"documents": other}).documents == other


def test_separator_longer_than_what_is_read_is_not_found() -> None:
    ids = np.arange(4)
    assert not SeparatorStarts((0, 1, 2, 3, 4, 5)).mark(ids, 0, 4).any()
    assert SeparatorStarts((0, 1)).mark(ids, 2, 3).tolist() == [True]
