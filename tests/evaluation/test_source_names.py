"""Names of the files of a text: the same for costs of characters and overlaps, or none."""

from pathlib import Path

import pytest
from conftest import make_run, prose

from charlm.errors import DataError, InputNotFoundError
from charlm.evaluation.novelty import TrainingPlaces
from charlm.evaluation.scored_text import open_scored_text
from charlm.evaluation.source_names import source_names
from charlm.progress import NoProgress


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(("a.txt", "b.txt", "sub/c.txt")):
        (folder / name).write_text(prose(2000, seed=number))
    (tmp_path / "test.txt").write_text(prose(500, seed=9))
    return folder


@pytest.mark.parametrize("has_test_file", [False, True])
@pytest.mark.parametrize("split_by", ["position", "line"])
def test_shuffled_lines_have_no_file(folder: Path, split_by: str, has_test_file: bool) -> None:
    """With --split-by line, no character is said to be in the first file; a test file is one."""
    test_file = str(folder.parent / "test.txt") if has_test_file else ""
    run, corpus, _ = make_run(folder.parent / "r", folder, split_by=split_by, test_file=test_file)
    names = {
        split: {
            name
            for _, name in open_scored_text(run, split, None, (), NoProgress()).iter_file_ends()
        }
        for split in ("train", "test")
    }
    places = TrainingPlaces(corpus, run, ())
    length = len(corpus.split("train"))
    found = [places.find(index)[0] for index in range(0, length, 10)]
    if split_by == "line":
        assert names["train"] == {""} == set(found)
        assert names["test"] == ({"test.txt"} if has_test_file else {""})
        assert places.find(length - 1)[1] == length - 1
    else:
        assert names["train"] == {"a.txt", "b.txt", "sub/c.txt"} == set(found)
        assert names["test"] == ({"test.txt"} if has_test_file else {"sub/c.txt"})


def test_files_that_changed_are_not_named(folder: Path) -> None:
    run, corpus, _ = make_run(folder.parent / "r", folder)
    moved = folder.rename(folder.parent / "moved")
    assert source_names(run, corpus.encoding, moved) == ["a.txt", "b.txt", "sub/c.txt"]
    with pytest.raises(InputNotFoundError):
        source_names(run, corpus.encoding)
    (moved / "d.txt").write_text("more")
    with pytest.raises(DataError, match="was read from 3, and now there are 4"):
        source_names(run, corpus.encoding, moved)
    assert TrainingPlaces(corpus, run, moved).find(0)[0] == ""


def test_standard_input_is_named_without_reading_it(folder: Path) -> None:
    run, corpus, config = make_run(folder.parent / "r", folder / "a.txt")
    assert source_names(run, corpus.encoding, "-") == ["-"]
