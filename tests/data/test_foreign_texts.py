"""Texts that a saved run names, special files, and compressed files without end."""

import bz2
import errno
import gzip
import io
import logging
import lzma
import os
import socket
import threading
from pathlib import Path

import msgspec
import pytest
from conftest import prose

from charlm.config import Config, validate_config
from charlm.data import folders, readers
from charlm.data.corpus import load_corpus, reload_corpus
from charlm.data.recorded import logger
from charlm.data.sources import TextSource, resolve_sources
from charlm.errors import CharlmError, ConfigError, DataError, InputNotFoundError, StorageError
from charlm.results.text import CorpusRecord, SourceSize


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def record(tmp_path: Path, store: Path) -> CorpusRecord:
    """Return the record of a run whose text is neither in the cache nor where it was."""
    (tmp_path / "a.txt").write_text(prose(600))
    found = load_corpus(tmp_path / "a.txt").record
    for path in (tmp_path / "a.txt", *store.iterdir()):
        path.unlink()
    return found


@pytest.fixture
def notes(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list that receives the notes, whatever handlers an earlier test left behind."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda line: messages.append(line.getMessage())  # type: ignore[method-assign]
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "propagate", False)
    caplog.set_level("INFO", logger.name)
    return messages


def reload(
    record: CorpusRecord, *sources: Path | str, size: SourceSize | None = None, **settings: object
) -> str:
    """Return the text of a run that names these sources, each of the size of its text."""
    names = tuple(map(str, sources))
    sizes = dict.fromkeys(names, size or SourceSize(1, 600))
    named = msgspec.structs.replace(record, sources=names, sizes=sizes)
    encoding = reload_corpus(validate_config(settings), named).encoding
    return encoding.text(0, encoding.size)


def test_run_names_only_regular_files_as_large_as_its_text(
    tmp_path: Path, store: Path, record: CorpusRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
    (tmp_path / "secret").write_text("s" * 300)
    (tmp_path / "long").write_text(prose(601))
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "d").mkdir()
    for name in ("a", "b"):
        (tmp_path / "d" / name).write_text("s" * 300)
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(2**40)
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"s" * 600))
    opened: list[object] = []
    for module in ("sources", "folders", "readers"):
        monkeypatch.setattr(f"charlm.data.{module}.open_plain", opened.append)
    specials = [tmp_path / name for name in ("pipe", "socket", "link")]
    devices = [Path(name) for name in ("/dev/zero", "/dev/urandom", "/dev/null", "/dev/stdin")]
    kernel = [Path(name) for name in ("/proc/kmsg", "/proc/self/environ", "/proc", "/sys", "/dev")]
    for path in (*specials, *devices, *(path for path in kernel if path.exists())):
        with pytest.raises(DataError, match="is no regular file.* Try"):
            reload(record, path)
    files = [tmp_path / name for name in ("secret", "long", "d", "sparse", "x.gz")]
    for sources in (*([path] for path in files), files):
        for settings in ({}, {"glob": "*"}, {"test_chars": 10}):
            with pytest.raises(DataError, match="not the text of the run .*of the run 600"):
                reload(record, *sources, **settings)
    with pytest.raises(DataError, match="not the text of the run .*the run has recorded none"):
        reload_corpus(Config(), msgspec.structs.replace(record, sources=(str(files[0]),), sizes={}))
    right = SourceSize(1, 300)
    for name, message in (
        ("/dev/zero", "no regular file"),
        (str(tmp_path / "long"), "not the text"),
        ("-", "standard input"),
    ):
        with pytest.raises(DataError, match=message):
            reload(record, tmp_path / "secret", size=right, valid_file=name)
    assert not opened


def test_nothing_of_another_text_is_kept(tmp_path: Path, store: Path, record: CorpusRecord) -> None:
    (tmp_path / "same-size").write_text("s" * 600)
    with pytest.raises(DataError, match="SHA-256"):
        reload(record, tmp_path / "same-size")
    (tmp_path / "bomb.xz").write_bytes(lzma.compress(bytes(10**6)))
    with pytest.raises(DataError, match="more than 600 bytes, all that the text of the run has"):
        packed = SourceSize(1, (tmp_path / "bomb.xz").stat().st_size)
        reload(record, tmp_path / "bomb.xz", size=packed)
    assert [*store.iterdir()] == []


def test_text_of_a_run_is_found_and_the_person_told(
    tmp_path: Path,
    record: CorpusRecord,
    notes: list[str],
) -> None:
    (tmp_path / "a.txt").write_text(prose(600))
    (tmp_path / "link").symlink_to("a.txt")
    assert reload(record, tmp_path / "link") == prose(600)
    assert notes == [f"note: reading the text of the run from {tmp_path / 'link'}"]
    assert reload(record, tmp_path / "link") == prose(600)  # from the cache
    named = reload_corpus(Config(), record, tmp_path / "a.txt")  # by the person
    assert named.record == record and len(notes) == 1


def test_folder_that_a_run_names_is_searched_within_limits(
    tmp_path: Path, record: CorpusRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.txt").write_text(prose(600))
    (tmp_path / "d" / "long.txt").write_text(prose(700))  # cannot be part of it
    both = SourceSize(2, 1300)
    (tmp_path / "d" / "kernel").symlink_to("/proc/self/environ")
    for settings in ({}, {"glob": "*.txt"}):
        with pytest.raises(
            DataError, match="d/kernel: it is no regular file or folder of the same"
        ):
            reload(record, tmp_path / "d", size=both, **settings)
    with pytest.raises(DataError, match="it is no regular file or folder"):
        reload(record, "file:///nul%00", size=both)
    (tmp_path / "d" / "kernel").unlink()
    assert reload(record, tmp_path / "d", size=both) == prose(600)
    for glob in ("../*", "*/../../*", "/etc/*"):
        with pytest.raises(ConfigError, match="cannot use --glob"):
            reload(record, tmp_path / "d", glob=glob, vocab="bytes")
        with pytest.raises(ConfigError, match="cannot use --glob"):
            resolve_sources([str(tmp_path / "d")], glob)
    monkeypatch.setattr(folders, "MAX_ENTRIES", 1)
    for settings in ({}, {"glob": "*.txt"}):
        with pytest.raises(DataError, match="it has more than 1 files and folders. Try --corpus"):
            reload(record, tmp_path / "d", vocab="bytes", **settings)


def test_long_list_of_sources_is_refused(
    tmp_path: Path,
    record: CorpusRecord,
    notes: list[str],
) -> None:
    for names in (("a",) * 1001, ("a" * 4097,)):
        changed = msgspec.json.encode(msgspec.structs.replace(record, sources=names))
        with pytest.raises(msgspec.ValidationError, match="Expected .* length <="):
            msgspec.json.decode(changed, type=CorpusRecord)
        with pytest.raises(ConfigError, match="at most 1,000, each of at most 4,096 characters"):
            load_corpus(names)
    with pytest.raises(DataError, match="cannot use /etc/hostname"):
        reload(record, *["/etc/hostname"] * 1000)
    (note,) = notes
    assert note.endswith("from /etc/hostname /etc/hostname /etc/hostname and 997 more")


GLOBS = ("*.txt", "**/*.txt", "**/*", "*", "*/*", "a/**/c.txt", "**/b/**/*.txt", "./a/[bc]*/?.txt")


@pytest.mark.parametrize("glob", [*GLOBS, "**/**/*.md", "A/*", "**/.*", ".h/*", "a/*/c.txt"])
def test_pattern_matches_the_files_that_path_glob_does(tmp_path: Path, glob: str) -> None:
    names = ["a/b/c.txt", "a/c.txt", "a/b/b/d.txt", "b/x.txt", "e.txt", "e.md", ".h/f.txt", ".g"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    wanted = sorted(path for path in set(tmp_path.glob(glob)) if path.is_file())
    try:
        assert folders.matching_files(tmp_path, glob) == wanted
    except InputNotFoundError:
        assert wanted == []


def test_pattern_with_many_ways_to_match_takes_no_time(tmp_path: Path) -> None:
    """Path.glob follows each way on its own: more than there are seconds in a year."""
    deep = tmp_path.joinpath(*["d"] * 1200)  # deeper than Python recurses
    os.makedirs(tmp_path.joinpath(*["d"] * 600))
    os.makedirs(deep)
    (deep / "x").touch()
    found = folders.matching_files(tmp_path, "/".join(["**/*"] * 40))
    (deep / "x").unlink()
    for path in (deep, *list(deep.parents)[: 1200 - 1]):  # pytest cannot remove it
        path.rmdir()
    assert found == [deep / "x"]
    for glob in ("/".join(["**/*"] * 60), "*" * 5000, "a**"):
        with pytest.raises(ConfigError, match="cannot use --glob"):
            folders.matching_files(tmp_path, glob)


def test_empty_file_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of the kernel have no size, and opening one may wait or have an effect."""
    (tmp_path / "a").write_bytes(b"")
    monkeypatch.setattr(folders, "open_plain", lambda path: pytest.fail(f"opened {path}"))
    with pytest.raises(InputNotFoundError, match="1 empty"):
        resolve_sources([str(tmp_path)])


def test_person_names_pipes_but_no_devices(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=("from a pipe",))
    writer.start()
    (source,) = resolve_sources([str(tmp_path / "pipe")]).sources
    writer.join()
    assert b"".join(source.chunks()) == b"".join(source.chunks()) == b"from a pipe"
    for name in ("/dev/zero", "/dev/null"):
        with pytest.raises(DataError, match=f"{name} is no regular file. Try a file, or - for"):
            resolve_sources([name])


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_compressed_file_is_unpacked_up_to_a_limit(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = {"gz": gzip, "bz2": bz2, "xz": lzma}[kind].compress
    (tmp_path / f"bomb.{kind}").write_bytes(packed := pack(bytes(300_000)))
    monkeypatch.setattr(readers, "UNLIMITED_BYTES", 1000)
    (source,) = resolve_sources([str(tmp_path / f"bomb.{kind}")]).sources
    message = f"more than {max(1000, 200 * len(packed)):,} bytes, unpacked from {len(packed):,}. "
    with pytest.raises(DataError, match=message + "Try to unpack it by hand, if you trust it"):
        read_to_end(source)
    monkeypatch.setattr(readers, "MAX_BYTES", 10)
    (source,) = resolve_sources([str(tmp_path / f"bomb.{kind}")]).sources
    with pytest.raises(DataError, match="more than 10 bytes"):
        read_to_end(source)
    monkeypatch.undo()
    (tmp_path / f"text.{kind}").write_bytes(pack(prose(9000).encode()))
    (source,) = resolve_sources([str(tmp_path / f"text.{kind}")]).sources
    assert b"".join(source.chunks()).decode() == prose(9000)


def test_limits_of_compressed_files_are_the_documented_ones() -> None:
    assert readers.compressed_limit(100).bytes == 64 * 2**20
    assert readers.compressed_limit(10**6).bytes == 200 * 10**6
    assert readers.compressed_limit(10**9).bytes == 4 * 2**30


def test_standard_input_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = readers.PIPE_LIMIT._replace(bytes=100)
    monkeypatch.setattr("charlm.data.sources.PIPE_LIMIT", limit)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(bytes(101))))
    with pytest.raises(DataError, match="standard input gives more than 100 bytes.*Try to save"):
        resolve_sources(["-"])


def test_full_temporary_directory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(readers.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"text")))
    with monkeypatch.context() as patch:
        patch.setattr(readers.files, "write_all", fail)
        with pytest.raises(StorageError, match=f"aside in {tmp_path}: No space left on device; "):
            resolve_sources(["-"])
    monkeypatch.setattr(readers.tempfile, "tempdir", str(tmp_path / "none"))
    (tmp_path / "a.txt").write_text(prose(900))
    for read in (
        lambda: resolve_sources(["-"]),
        lambda: load_corpus(tmp_path / "a.txt", validate_config({"split_by": "line"})),
    ):
        with pytest.raises(StorageError, match=str(tmp_path / "none")):
            read()


@pytest.mark.parametrize("change", ["shrinks", "grows", "differs", "vanishes", "becomes a pipe"])
def test_text_that_changes_between_the_passes_is_found(
    tmp_path: Path, store: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text(prose(900))
    read, passes = TextSource.chunks, []

    def chunks(self: TextSource):  # type: ignore[no-untyped-def]
        if passes:
            {
                "shrinks": lambda: os.truncate(path, 800),
                "grows": lambda: path.write_text(prose(901)),
                "differs": lambda: path.write_text(prose(900, seed=1)),
                "vanishes": path.unlink,
                "becomes a pipe": lambda: (path.unlink(), os.mkfifo(path)),
            }[change]()
        passes.append(change)
        return read(self)

    monkeypatch.setattr(TextSource, "chunks", chunks)
    with pytest.raises(CharlmError) as caught:
        load_corpus(path)
    assert caught.value.code in (65, 66) and len(passes) == 2
    assert [*store.iterdir()] == []


def read_to_end(source: TextSource) -> None:
    """Read a source to its end."""
    for _ in source.chunks():
        pass
