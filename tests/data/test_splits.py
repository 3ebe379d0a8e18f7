"""Splits by file, by line and by position; units that are resampled; limits of the test split."""

import os
import random
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import prose

from charlm.config import validate_config
from charlm.data import units
from charlm.data.corpus import Corpus, load_corpus, reload_corpus
from charlm.errors import DataError

SPLITS = ("train", "valid", "test")
NAMES = ["".join(random.Random(seed).choices("abcdefgh", k=3 + seed % 9)) for seed in range(2000)]


def write_files(directory: Path, lengths: list[int], first: int = 0) -> Path:
    """Write files of these lengths; each has its number as its first line."""
    directory.mkdir(exist_ok=True)
    for number, length in enumerate(lengths, first):
        (directory / f"{number:03}.txt").write_text(
            f"#{number}\n" + prose(length - 5, number) + "\n"
        )
    return directory


def load(path: Path, **settings: object) -> Corpus:
    return load_corpus(path, validate_config(settings))


def text(corpus: Corpus, split: str) -> str:
    if corpus.vocabulary.kind == "bytes":
        return bytes(corpus.split(split).tolist()).decode()
    return corpus.encoding.text(*corpus.record.splits[split])


def split_by_unit(corpus: Corpus, split: str) -> list[str]:
    """Return the text of each file of a split."""
    start = corpus.record.splits[split][0]
    edges = (start + corpus.unit_edges(split)).tolist()
    if corpus.vocabulary.kind == "chars":
        return [corpus.encoding.text(*span) for span in pairwise(edges)]
    ids = corpus.encoding.ids
    return [bytes(ids[first:last].tolist()).decode() for first, last in pairwise(edges)]


def files(corpus: Corpus, split: str) -> list[str]:
    return re.findall(r"#\d+", text(corpus, split))


# by file


def test_files_stay_in_their_split_when_others_come(tmp_path: Path) -> None:
    before = load(write_files(tmp_path / "a", [200] * 200), split_by="file")
    after = load(write_files(tmp_path / "a", [300] * 100, 200), split_by="file")
    for split in SPLITS:
        kept = [name for name in files(after, split) if int(name[1:]) < 200]
        assert kept == files(before, split)  # in the same order, too
    sizes = np.array([len(files(after, split)) for split in SPLITS]) / 300
    assert np.abs(sizes - (0.9, 0.05, 0.05)).max() < 0.04
    assert after.record.files == {split: len(files(after, split)) for split in SPLITS}
    assert Counter(sum((files(after, split) for split in SPLITS), [])).most_common(1)[0][1] == 1
    assert files(after, "train") != sorted(files(after, "train"))


def test_split_depends_on_the_relative_path_alone(tmp_path: Path) -> None:
    here = load(write_files(tmp_path / "a", [200] * 120))
    there = load(write_files(tmp_path / "elsewhere", [200] * 120))
    assert here.record.split_by == "file"  # auto: there are 100 files
    assert here.record.digest == there.record.digest and here.record.splits == there.record.splits
    moved = reload_corpus(validate_config({}), here.record, tmp_path / "elsewhere")
    assert np.array_equal(moved.split("test"), here.split("test"))


def test_auto_is_by_position_below_a_hundred_files(tmp_path: Path) -> None:
    corpus = load(write_files(tmp_path / "a", [200] * 99))
    assert corpus.record.split_by == "position" and corpus.record.files == {}
    assert files(corpus, "train") == [f"#{number}" for number in range(90)]


def test_split_without_a_file_is_refused(tmp_path: Path) -> None:
    for lengths, count in (([300], 1), ([300] * 4, 4)):
        directory = write_files(tmp_path / str(count), lengths)
        with pytest.raises(DataError, match=rf"has {count} files, and too few .* --split-by pos"):
            load(directory, split_by="file")


def test_separate_file_is_not_part_of_a_split_by_file(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("test text\n")
    corpus = load(
        write_files(tmp_path / "a", [200] * 120), test_file=str(tmp_path / "t.txt"), test_chars=7
    )
    assert text(corpus, "test") in "test text" * 2 and len(text(corpus, "test")) == 7
    assert len(files(corpus, "train")) + len(files(corpus, "valid")) == 120
    assert corpus.record.files["test"] == 1


@pytest.mark.parametrize("vocab", ["chars", "bytes"])
def test_test_files_are_cut_at_one_length(tmp_path: Path, vocab: str) -> None:
    """Short files stay whole, and the others share what is left; no character is cut."""
    directory = write_files(tmp_path / "a", [40 + 20 * (n % 30) for n in range(200)])
    for path in directory.iterdir():
        path.write_text(path.read_text().replace("a", "ä"))
    settings = {"vocab": vocab, "split_ratios": "60/20/20"}
    whole, cut = load(directory, **settings), load(directory, **settings, test_chars=4000)
    parts, excerpts = (split_by_unit(corpus, "test") for corpus in (whole, cut))
    assert len(parts) == len(excerpts) == len(files(whole, "test"))
    assert files(cut, "train") == files(whole, "train")
    level = max(map(len, excerpts))
    assert [len(excerpt) for excerpt in excerpts] == [min(len(part), level) for part in parts]
    assert all(excerpt in part for part, excerpt in zip(parts, excerpts, strict=True))
    starts = [part.index(excerpt) for part, excerpt in zip(parts, excerpts, strict=True)]
    assert len(set(starts)) > 5  # where a file is cut is decided by its path
    assert 4000 - len(parts) < sum(map(len, excerpts)) <= 4000 < sum(map(len, parts))
    assert whole.record.digest != cut.record.digest


def test_name_of_a_file_need_not_be_utf8(tmp_path: Path) -> None:
    directory = write_files(tmp_path / "a", [200] * 120)
    os.rename(directory / "000.txt", os.fsencode(directory) + b"/n\xe9.txt")
    corpus = load(directory)
    assert sum(len(files(corpus, split)) for split in SPLITS) == 120


# by line


def test_identical_lines_are_in_one_split_and_far_apart(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    lines = sorted(NAMES + NAMES[:300] * 3)
    path.write_text("\n".join(lines) + "\n")
    corpus = load(path, split_by="line", split_ratios="80/10/10")
    parts = [text(corpus, split).splitlines() for split in SPLITS]
    assert Counter(sum(parts, [])) == Counter(lines)
    assert not (set(parts[0]) & set(parts[1]) | set(parts[0]) & set(parts[2]))
    assert (
        np.abs(
            np.array([len(set(part)) for part in parts]) / len(set(lines)) - (0.8, 0.1, 0.1)
        ).max()
        < 0.03
    )
    doubled = sum(first == second for first, second in zip(parts[0], parts[0][1:], strict=False))
    assert doubled < 10
    ascending = sum(first <= second for first, second in zip(parts[0], parts[0][1:], strict=False))
    assert 0.4 < ascending / len(parts[0]) < 0.6  # shuffled
    path.write_text("\n".join(reversed(lines)) + "\n")
    assert (
        load(path, split_by="line", split_ratios="80/10/10").record.splits == corpus.record.splits
    )


def test_line_without_an_end_comes_last(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\n".join(NAMES))
    corpus = load(path, split_by="line")
    (split,) = [name for name in SPLITS if not text(corpus, name).endswith("\n")]
    assert text(corpus, split).endswith("\n" + NAMES[-1])
    assert corpus.unit_kind("test") == "line"


def test_error_names_the_line_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes("\n".join(NAMES).encode() + b"\nab\xff\n")
    with pytest.raises(DataError, match=r"line 2001, column 3"):
        load(tmp_path / "x.txt", split_by="line")
    assert load(tmp_path / "x.txt", split_by="line", vocab="bytes").record.characters is None
    (tmp_path / "y.txt").write_text("one line alone\n")
    with pytest.raises(DataError, match="too few lines of .*y.txt fall to"):
        load(tmp_path / "y.txt", split_by="line")


# by position


def test_beginning_of_the_test_split_is_scored(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("é" * 1000)
    for vocab, width in (("chars", 1), ("bytes", 2)):
        corpus = load(tmp_path / "x.txt", test_chars=30, vocab=vocab)
        start, end = corpus.record.splits["test"]
        assert (start, end) == (950 * width, 980 * width)
    assert load(tmp_path / "x.txt", test_chars=80).record.splits["test"] == (950, 1000)


# units


def test_units_are_the_files_of_a_split_or_blocks(tmp_path: Path) -> None:
    corpus = load(write_files(tmp_path / "a", [300] * 130), split_ratios="60/20/20")
    edges, part = corpus.unit_edges("test"), text(corpus, "test")
    assert corpus.unit_kind("test") == "file" and len(edges) - 1 == corpus.record.files["test"]
    assert [part[edge : edge + 1] for edge in edges[:-1]] == ["#"] * (len(edges) - 1)
    assert edges[-1] == len(part)
    few = load(tmp_path / "a", split_ratios="96/2/2")
    assert few.record.split_by == "file" and few.unit_kind("test") == "block"


def test_units_of_the_beginning_are_its_blocks_but_all_files(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("ab" * 60_000)
    corpus = load(tmp_path / "x.txt", split_ratios="10/40/50")
    assert np.diff(corpus.units("test").edges).tolist() == [1200] * 50
    assert np.diff(corpus.units("test", 5000).edges).tolist() == [1000] * 5
    files = load(write_files(tmp_path / "a", [300] * 130), split_ratios="60/20/20")
    assert files.units("test", 1000).kind == "file"
    assert (files.units("test", 1000).edges == files.unit_edges("test")).all()


def test_units_do_not_depend_on_what_is_cached(tmp_path: Path) -> None:
    """The same bytes are cached as a directory and as one file."""
    directory = write_files(tmp_path / "a", [300] * 90)
    whole = tmp_path / "whole.txt"
    whole.write_bytes(b"".join(path.read_bytes() for path in sorted(directory.iterdir())))
    settings = {"split_by": "position", "split_ratios": "40/10/50"}
    for _ in range(2):
        assert load(directory, **settings).unit_kind("test") == "file"
        assert load(whole, **settings).unit_kind("test") == "block"
    with pytest.raises(DataError, match="the same bytes in other files"):
        reload_corpus(validate_config(settings), load(directory, **settings).record, whole)


def test_many_files_are_grouped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "MAX_FILE_UNITS", 7)
    corpus = load(write_files(tmp_path / "a", [300] * 130), split_ratios="60/20/20")
    edges = corpus.unit_edges("test")
    assert len(edges) == 8 and set(edges[:-1]) <= {
        index for index, character in enumerate(text(corpus, "test")) if character == "#"
    }


@pytest.mark.parametrize("vocab", ["chars", "bytes"])
def test_units_of_lines_end_with_a_line(tmp_path: Path, vocab: str) -> None:
    (tmp_path / "x.txt").write_text("".join(f"{name}é\n" for name in NAMES))
    corpus = load(tmp_path / "x.txt", split_by="line", split_ratios="50/25/25", vocab=vocab)
    edges, ids = corpus.unit_edges("test"), corpus.split("test")
    newline = corpus.vocabulary.tokens.index(ord("\n"))
    assert len(edges) > 3 and (ids[edges[1:] - 1] == newline).all()
    assert edges[0] == 0 and edges[-1] == len(ids)
    assert np.diff(edges).min() > 900
