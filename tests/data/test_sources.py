"""Text sources: bytes exactly as they are, from wherever they come."""

import bz2
import gzip
import io
import lzma
import os
from pathlib import Path

import msgspec
import pytest
from conftest import prose

from charlm.config import validate_config
from charlm.data.catalog import BUILT_IN
from charlm.data.corpus import load_corpus
from charlm.data.formats import HEAD_BYTES
from charlm.data.sources import BUILT_IN_SOURCES, ResolvedSources, resolve_sources
from charlm.errors import ConfigError, DataError, InputNotFoundError
from charlm.reporting.wording.text import describe_text_note
from charlm.results.text import CorpusRecord


def read_all(resolved: ResolvedSources) -> bytes:
    return b"".join(chunk for source in resolved.sources for chunk in source.chunks())


def test_files_directories_and_archives_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "a.txt").write_bytes(b"one\r\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"two"))
    (tmp_path / "c.xz").write_bytes(lzma.compress(b"three"))
    (tmp_path / "c.bz2").write_bytes(bz2.compress(b"four"))
    (tmp_path / "d" / "z.txt").write_bytes(b"six")
    (tmp_path / "d" / "e" / "y.txt").write_bytes(b"five")
    (tmp_path / "d" / "other.md").write_bytes(b"no")
    names = [str(tmp_path / name) for name in ("a.txt", "b.txt.gz", "c.xz", "c.bz2", "d")]
    assert read_all(resolve_sources(names, "**/*.txt")) == b"one\r\ntwothreefourfivesix"
    assert read_all(resolve_sources(names[-1:], "*.md")) == b"no"


def test_standard_input_can_be_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe")))
    spooled = resolve_sources(["-"], "")
    assert read_all(spooled) == read_all(spooled) == b"from a pipe"


SLOW_CORPORA = ("python-source",)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW_CORPORA else [])
        for name in BUILT_IN
    ],
)
def test_corpora_of_python_are_readable_and_repeatable(name: str) -> None:
    assert list(BUILT_IN_SOURCES) == sorted(BUILT_IN)
    data = read_all(resolve_sources([name], ""))
    assert data == read_all(resolve_sources([name], ""))
    least, most = {"python-docs": (0.3e6, 0.9e6), "python-source": (8e6, 25e6)}[name]
    assert least < len(data.decode()) < most


@pytest.mark.parametrize("cut", [5, 20])
@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_truncated_or_false_archive_is_bad_data(tmp_path: Path, kind: str, cut: int) -> None:
    archive = {"gz": gzip, "bz2": bz2, "xz": lzma}[kind].compress(prose(3000).encode())
    for data in (archive[:-cut], b"plain text"):
        file = tmp_path / f"x.{kind}"
        file.write_bytes(data)
        with pytest.raises(DataError, match=f"x.{kind} cannot be unpacked"):
            read_all(resolve_sources([str(file)], ""))


def test_missing_sources_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        InputNotFoundError, match="nowhere.txt: there is no such file.*one of charlm corpora list"
    ):
        resolve_sources(["nowhere.txt"], "")
    with pytest.raises(InputNotFoundError, match="no corpus of that name. Try python-docs"):
        resolve_sources(["python-doc"], "")
    with pytest.raises(InputNotFoundError, match=r"matches \*\*/\*\.txt. Try another --glob"):
        resolve_sources([str(tmp_path)], "**/*.txt")


def test_invalid_glob_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot use --glob"):
        resolve_sources([str(tmp_path)], "/x")


# folders


def test_folder_is_read_with_all_text_files_in_order(tmp_path: Path) -> None:
    contents = {
        "z.md": b"one\n",
        "a/readme": "zwei \N{EURO SIGN}\n".encode(),
        "a/code.py": b"x = 1\n",
        "b.txt": b"three\n",
        "picture.txt": b"\x89PNG\r\n\x1a\n" + bytes(50),
        "numbers": bytes(range(256)),
        "old.txt": "caf\xe9 au lait, s'il vous pla\xeet\n".encode("latin-1"),
        "wide.txt": "wide\n".encode("utf-16"),
        "book.txt.gz": gzip.compress(b"packed"),
        "more.tar": b"",
        ".git/config": b"hidden",
        ".notes.txt": b"hidden",
    }
    for name, data in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    resolved = resolve_sources([str(tmp_path)])
    names = [source.path for source in resolved.sources]
    assert names == ["a/code.py", "a/readme", "b.txt", "z.md"]
    left_out = {note.reason: (note.files, Path(note.source).name) for note in resolved.notes}
    assert left_out == {
        "compressed": (1, "book.txt.gz"),
        "binary": (2, "numbers"),
        "encoding": (2, "old.txt"),
        "empty": (1, "more.tar"),
        "hidden": (2, ".git"),
    }
    assert [source.path for source in resolve_sources([str(tmp_path)], "*.txt*").sources] == [
        *(".notes.txt", "b.txt", "book.txt.gz", "old.txt", "picture.txt", "wide.txt")
    ]
    record = load_corpus(tmp_path, validate_config({"split_ratios": "1/1/1"})).record
    assert {note.reason for note in record.notes} == {*left_out}
    assert describe_text_note(resolved.notes[-1]).startswith(
        "left out: 2 hidden files or folders, such as"
    )


def test_long_text_may_be_cut_within_a_character(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes("\N{EURO SIGN}".encode() * HEAD_BYTES)
    (tmp_path / "broken").write_bytes(b"abc" + "\N{EURO SIGN}".encode()[:2])
    (source,) = resolve_sources([str(tmp_path)]).sources
    assert source.path == "long"


def test_folder_without_text_says_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="it is an empty folder. Try another$"):
        resolve_sources([str(tmp_path)])
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04" + bytes(600))
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(
        InputNotFoundError, match=r"it has 1 archive\(s\), 2 binary file\(s\) and no text. Try"
    ):
        resolve_sources([str(tmp_path)])


def test_split_by_file_of_a_folder_does_not_depend_on_what_is_left_out(tmp_path: Path) -> None:
    for number in range(120):
        (tmp_path / f"{number}.txt").write_text(prose(40, seed=number))
    before = load_corpus(tmp_path).record
    assert before.split_by == "file"
    (tmp_path / "x.bin").write_bytes(bytes(99))
    after = load_corpus(tmp_path).record
    assert after.digest == before.digest and after.files == before.files


# names that are not UTF-8


def test_name_that_is_not_utf8_is_recorded_and_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / os.fsdecode(b"d\xe9")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    name = os.fsdecode(b"n\xe9 %41.txt")
    (folder / name).write_text(prose(900))
    (folder / "valid.txt").write_text(prose(90))
    monkeypatch.chdir(folder)
    for text in (name, "valid.txt", str(folder)):
        corpus = load_corpus(text)
        (recorded,) = corpus.record.sources
        assert recorded.startswith("file:///") and "%E9" in recorded
        assert read_all(resolve_sources([recorded])) == read_all(resolve_sources([text]))
        assert msgspec.json.decode(msgspec.json.encode(corpus.record), type=CorpusRecord)
    config = validate_config({"valid_file": "valid.txt", "test_file": name})
    corpus = load_corpus(str(folder), config)
    again = validate_config(msgspec.json.decode(msgspec.json.encode(corpus.settings)))
    assert load_corpus(corpus.record.sources, again).record == corpus.record
    (folder / name).write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"n\\xe9 %41.txt is not UTF-8"):
        load_corpus(name)
    with pytest.raises(InputNotFoundError, match=r"m\\xe9: there is no such file"):
        load_corpus(os.fsdecode(b"m\xe9"))
