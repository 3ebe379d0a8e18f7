"""Downloads of corpora: checked before they get their name, whatever a server does."""

import gc
import hashlib
import os
import tarfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from corpus_server import BOOK, EUROS, FILES, SPLITS, example_catalog, serve

from charlm.config import validate_config
from charlm.data import catalog, corpus_cache, downloads, sources
from charlm.data.corpus import load_corpus
from charlm.data.corpus_cache import corpus_directory, load_stored, verify_corpus
from charlm.data.downloads import fetch_corpus, with_underscores
from charlm.data.sources import resolve_sources
from charlm.errors import CharlmError, ConfigError, DataError, InputNotFoundError
from charlm.progress import NoProgress

# The library leaves the connection of a failed download to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serve() as served:
        yield served


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    yield
    gc.collect()


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch):
    """Return a function that replaces the catalog by one of this address."""

    def replace(address: str) -> None:
        examples = example_catalog(address)
        for module in (catalog, corpus_cache, sources):
            monkeypatch.setattr(module, "catalog", lambda: examples)

    return replace


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.glob("*")} - {"lock"}


def read_all(name: str) -> bytes:
    return b"".join(
        chunk for source in resolve_sources([name]).sources for chunk in source.chunks()
    )


def test_corpus_is_downloaded_once_and_read_by_its_name(address: str, use) -> None:
    use(f"{address}/ok")
    counts: dict[str, int] = {}

    class Recorder(NoProgress):
        def counter(self, description: str, total: int | None = None):  # type: ignore[override]
            assert total in (len(BOOK), None)
            return nullcontext(
                lambda n: counts.update({description: counts.get(description, 0) + n})
            )

    with pytest.raises(InputNotFoundError, match=r"cannot read book: it is not downloaded\. Try"):
        load_corpus("book")
    fetched = fetch_corpus("book", Recorder())
    assert counts == {"downloading book.txt": len(BOOK)}
    (text,) = fetched.texts
    assert (text.file, text.bytes) == ("book.txt", len(BOOK))
    assert text.sha256 == hashlib.sha256(BOOK).hexdigest()
    assert fetched.downloads[0].is_verified
    assert read_all("book") == BOOK
    record = load_corpus("book").record
    assert (record.sources, record.split_by) == (("book",), "position")
    use("http://127.0.0.1:9")  # nothing listens there
    assert fetch_corpus("book").texts == fetched.texts


# By the fault of the server.
FAULTS: dict[str, tuple[type[CharlmError], str]] = {
    "404": (InputNotFoundError, "the server answers 404 Not Found. Try to save it as .*book.txt"),
    "503": (InputNotFoundError, "the server answers 503 Service Unavailable. Try to save it as"),
    "loop": (InputNotFoundError, "the server redirects without end. Try to save it as"),
    "file": (InputNotFoundError, "the server cannot be reached. Try to save it as"),
    "hang": (InputNotFoundError, "the server sends nothing for 0.5 seconds. Try to save it as"),
    "cut": (InputNotFoundError, "the connection broke before the end. Try to save it as"),
    "other": (DataError, "what was downloaded has not the hash sha256:.*Try"),
    "short": (DataError, "what was downloaded has not the hash sha256:.*Try"),
    "long": (DataError, "it is longer than 30,000 bytes, so it is another file. Try"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_download_leaves_nothing(
    fault: str, address: str, use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(downloads, "CHUNK_BYTES", 1 << 12)
    kind, pattern = FAULTS[fault]
    use(f"{address}/{fault}")
    with pytest.raises(kind, match=pattern) as error:
        fetch_corpus("book")
    assert "\n" not in str(error.value) and f"{address}/{fault}/book.txt" in str(error.value)
    assert names_in(corpus_directory("book")) == set()
    assert load_stored("book") is None
    use(f"{address}/ok")
    fetch_corpus("book")
    assert read_all("book") == BOOK


def test_server_that_is_not_there(use) -> None:
    use("http://127.0.0.1:9")
    with pytest.raises(InputNotFoundError, match="cannot be reached. Try to save it as") as error:
        fetch_corpus("book")
    assert str(corpus_directory("book") / "book.txt") in str(error.value)
    assert str(error.value).endswith("then charlm corpora get book")


def test_file_that_lies_in_the_cache_is_used_without_a_network(use) -> None:
    use("http://127.0.0.1:9")
    directory = corpus_directory("euros")
    directory.mkdir(parents=True)
    (directory / "euros.zip").write_bytes(FILES["euros.zip"])
    fetch_corpus("euros")
    assert read_all("euros") == EUROS
    assert names_in(directory) == {"euros", "corpus.json"}  # the archive is no longer needed
    directory = corpus_directory("book")
    directory.mkdir()
    for data, problem in ((BOOK[:-1], "29,999 bytes, not 30,000"), (bytes(30_000), "another hash")):
        (directory / "book.txt").write_bytes(data)
        with pytest.raises(DataError, match=f"book.txt: it has {problem}.*Try to remove it"):
            fetch_corpus("book")
        assert (directory / "book.txt").read_bytes() == data  # it is not ours to remove


def test_download_without_published_hash_is_pinned(address: str, use) -> None:
    use(f"{address}/short")
    with pytest.raises(DataError, match="it has 29,993 bytes, not 30,000, so it is another file"):
        fetch_corpus("unhashed")
    assert names_in(corpus_directory("unhashed")) == set()
    use(f"{address}/ok")
    (download,) = fetch_corpus("unhashed").downloads
    assert not download.is_verified
    assert download.sha256 == hashlib.sha256(BOOK).hexdigest()
    (corpus_directory("unhashed") / "book.txt").write_bytes(bytes(30_000))
    with pytest.raises(DataError, match="cannot read unhashed: book.txt has the SHA-256.*Try"):
        load_corpus("unhashed")


def test_damaged_corpus_is_found_and_downloaded_again(address: str, use) -> None:
    use(f"{address}/ok")
    fetch_corpus("parts")
    directory = corpus_directory("parts")
    stored = load_stored("parts")
    assert stored and not any(check.problem for check in verify_corpus("parts", stored))
    (directory / "train").write_bytes(b"x" * len(SPLITS["train"]))
    (directory / "valid").write_bytes(b"")
    (directory / "test").unlink()
    problems = [check.problem for check in verify_corpus("parts", stored)]
    assert problems[0].startswith("has the SHA-256")
    assert problems[1:] == ["has 0 bytes, not 6", "cannot be read: No such file or directory"]
    fetch_corpus("parts")
    assert read_all("parts") == b"".join(SPLITS.values())


def test_killed_download_is_swept_away(address: str, use) -> None:
    directory = corpus_directory("book")
    directory.mkdir(parents=True)
    (directory / "tmpabcd_123").write_bytes(b"half")
    use(f"{address}/ok")
    fetch_corpus("book")
    assert names_in(directory) == {"book.txt", "corpus.json"}


def test_unknown_corpus_is_a_config_error(use) -> None:
    use("http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="unknown corpus 'boook'; did you mean book"):
        fetch_corpus("boook")


def test_archive_without_the_text_is_bad_data(
    address: str, use, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(f"{address}/ok")
    for name, archive in (("euros", "euros.zip"), ("parts", "parts.tar.gz")):
        download = catalog.find_corpus(name).downloads[0]
        other = FILES["parts.tar.gz" if name == "euros" else "euros.zip"]
        path = corpus_directory(name) / archive
        path.parent.mkdir(parents=True)
        path.write_bytes(other.ljust(download.bytes, b"\0")[: download.bytes])
        monkeypatch.setattr(downloads, "_check_own_file", lambda path, download: None)
        with pytest.raises(DataError, match=f"cannot unpack .*{archive}: .*damaged. Try"):
            fetch_corpus(name)
        assert load_stored(name) is None and names_in(path.parent) == {archive}


@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "device", "folder", "no such"])
def test_member_that_is_no_file_is_not_unpacked(
    kind: str, address: str, use, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(f"{address}/ok")
    types = {"symbolic link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE}
    types |= {"device": tarfile.CHRTYPE, "folder": tarfile.DIRTYPE}
    (tmp_path / "secret").write_text("secret")
    path = corpus_directory("parts") / "parts.tar.gz"
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as archive:
        for text in catalog.find_corpus("parts").downloads[0].texts:
            member = tarfile.TarInfo(f"../{text.file}" if kind == "no such" else text.file)
            member.type = types.get(kind, tarfile.REGTYPE)
            member.linkname = str(tmp_path / "secret")
            archive.addfile(member)
    monkeypatch.setattr(downloads, "_check_own_file", lambda path, download: None)
    with pytest.raises(DataError, match="cannot unpack .*parts.tar.gz: .*damaged. Try"):
        fetch_corpus("parts")
    assert load_stored("parts") is None and names_in(path.parent) == {"parts.tar.gz"}


# splits


def test_splits_of_files_are_kept_unless_others_are_asked_for(address: str, use) -> None:
    use(f"{address}/ok")
    fetch_corpus("parts")
    corpus = load_corpus("parts", validate_config({"min_char_frequency": 0.0}))
    assert corpus.record.split_by == "corpus" and corpus.record.files == {}
    for split, content in SPLITS.items():
        assert corpus.encoding.text(*corpus.record.splits[split]).encode() == content
    assert ord("f") not in corpus.vocabulary.tokens  # of training alone
    for settings in ({"split_ratios": "1/1/1"}, {"split_by": "position", "split_ratios": "2/1/1"}):
        assert load_corpus("parts", validate_config(settings)).record.split_by == "position"
    record = load_corpus(["parts", "parts"]).record
    assert (record.split_by, record.characters) == ("position", 2 * corpus.record.characters)


def test_own_validation_file_replaces_that_of_the_corpus(address: str, use, tmp_path: Path) -> None:
    use(f"{address}/ok")
    fetch_corpus("parts")
    (tmp_path / "v.txt").write_text("my own")
    corpus = load_corpus("parts", validate_config({"valid_file": str(tmp_path / "v.txt")}))
    assert corpus.encoding.text(*corpus.record.splits["valid"]) == "my own"
    assert corpus.encoding.text(*corpus.record.splits["test"]).encode() == SPLITS["test"]


def test_splits_in_bytes_are_cut_between_characters(address: str, use) -> None:
    use(f"{address}/ok")
    fetch_corpus("euros")
    in_bytes = load_corpus("euros", validate_config({"vocab": "bytes"})).record
    assert in_bytes.splits == {"train": (0, 2000), "valid": (2000, 2500), "test": (2500, 3000)}
    in_characters = load_corpus("euros").record
    assert in_characters.splits == {"train": (0, 667), "valid": (667, 834), "test": (834, 1000)}
    cut = load_corpus("euros", validate_config({"test_chars": 10})).record
    assert cut.splits == {"train": (0, 667), "valid": (667, 834), "test": (834, 844)}


def test_penn_treebank_has_underscores_for_spaces(address: str, use) -> None:
    use(f"{address}/ok")
    fetch_corpus("lines")
    corpus = load_corpus("lines", validate_config({"min_char_frequency": 0.0}))
    texts = {split: corpus.encoding.text(*corpus.record.splits[split]) for split in SPLITS}
    assert texts == {"train": "a__b\nc\n", "valid": "d_e\n", "test": "f_g_h\n"}
    assert with_underscores(b" no line end ") == b"no_line_end"
    assert names_in(corpus_directory("lines")) == {
        "corpus.json",
        *(f"underscores-{split}.txt" for split in SPLITS),
    }


def test_file_of_the_name_of_a_corpus_is_named_in_the_error(
    use, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use("http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    Path("book").write_text("mine")
    with pytest.raises(InputNotFoundError, match="get book, or ./book for the file of that name"):
        load_corpus("book")
    assert read_all(f".{os.sep}book") == b"mine"
