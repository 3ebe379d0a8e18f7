"""Text sources: bytes exactly as they are, from wherever they come."""

import bz2
import gzip
import io
import lzma
from pathlib import Path

import pytest
from conftest import prose

from charlm.data import sources
from charlm.data.sources import TextSource, resolve_sources
from charlm.errors import ConfigError, DataError, InputNotFoundError


def read_all(text_sources: list[TextSource]) -> bytes:
    return b"".join(chunk for source in text_sources for chunk in source.chunks())


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
        for name in sources.NAMED_CORPORA
    ],
)
def test_named_corpora_are_readable_and_repeatable(name: str) -> None:
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
        InputNotFoundError, match="nowhere.txt: there is no such file.*python-docs, python-source"
    ):
        resolve_sources(["nowhere.txt"], "")
    with pytest.raises(InputNotFoundError, match=r"matches \*\*/\*\.txt. Try another --glob"):
        resolve_sources([str(tmp_path)], "**/*.txt")


def test_invalid_glob_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot use --glob"):
        resolve_sources([str(tmp_path)], "")
