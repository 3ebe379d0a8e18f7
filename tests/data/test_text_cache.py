"""Cache of encoded texts: damage is found, nobody else reads or changes it, a run outlives it."""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest
from conftest import TINY, prose

from charlm.config import Config, validate_config
from charlm.data import cache as cache_module
from charlm.data.batches import BatchSampler
from charlm.data.corpus import load_corpus, reload_corpus
from charlm.data.encoded_text import EncodedText, encode, load_cached
from charlm.data.encoding_checks import is_record_of
from charlm.data.sources import resolve_sources
from charlm.data.stored_ids import CacheFile, StoredIds, read_rows
from charlm.data.text_notes import inspect_text
from charlm.data.vocabulary import BYTE_VOCABULARY, Vocabulary
from charlm.errors import InputNotFoundError, StorageError
from charlm.progress import NoProgress
from charlm.results.text import VocabularyRule
from charlm.results.training import StepMetrics, TrainingEvent
from charlm.runs.run import open_run
from charlm.storage import private_cache
from charlm.training.session import train

TEXT = "abcabcabc" * 3 + "x"
RARE = VocabularyRule("1", 0.05)  # so that some characters are unknown


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def encode_file(path: Path, vocabulary: Vocabulary | VocabularyRule = RARE) -> EncodedText:
    return encode([resolve_sources([str(path)]).sources], vocabulary)


def test_changed_bits_of_a_record_are_found(tmp_path: Path, store: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    digest = encode_file(tmp_path / "a.txt").metadata.digest
    (record,) = store.glob("*.json")
    sound = record.read_bytes()
    for place in range(0, 8 * len(sound), 41):
        data = bytearray(sound)
        data[place // 8] ^= 1 << place % 8
        record.write_bytes(data)
        assert load_cached(digest, RARE) is None, place
    for length in range(0, len(sound), 50):
        record.write_bytes(sound[:length])
        assert load_cached(digest, RARE) is None
    record.write_bytes(sound)
    assert load_cached(digest, RARE) is not None
    encoding = encode_file(tmp_path / "a.txt")
    assert encoding.text(0, encoding.size) == TEXT


def test_changed_bits_of_the_ids_are_found(tmp_path: Path, store: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    digest = encode_file(tmp_path / "a.txt").metadata.digest
    (ids,) = store.glob("*.ids")
    sound = ids.read_bytes()
    changed = [sound[:-1], sound + b"\0", b""]
    for place in range(0, 8 * len(sound), 3):
        data = bytearray(sound)
        data[place // 8] ^= 1 << place % 8
        changed.append(bytes(data))
    for data in changed:
        ids.write_bytes(data)
        assert load_cached(digest, RARE) is None


def test_record_of_another_text_or_vocabulary_is_not_taken(tmp_path: Path, store: Path) -> None:
    """Its hash and that of its ids are right; both were put under the name of the text."""
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "b.txt").write_text("b" + TEXT[1:])
    first = encode_file(tmp_path / "a.txt").metadata
    names = {path.name for path in store.iterdir()}
    other = encode_file(tmp_path / "b.txt").metadata
    for path in sorted(store.iterdir()):
        if path.name not in names:
            (own,) = (name for name in names if name.endswith(path.suffix))
            shutil.copy(path, store / own)
    assert load_cached(first.digest, RARE) is None
    assert is_record_of(other, other.digest, RARE)
    for changes in (
        {"unknown": -1},
        {"unknown": 29},
        {"sources": ((-28,),)},
        {"sources": ((29,),)},
        {"sources": ((28,), ())},
        {"id_bytes": 4},
    ):
        assert not is_record_of(msgspec.structs.replace(other, **changes), other.digest, RARE)
    assert not is_record_of(other, other.digest, Vocabulary("chars", (97, 98)))
    assert not is_record_of(other, other.digest, BYTE_VOCABULARY)


def test_notes_on_a_text_are_measured_again_once_a_bit_has_changed(
    tmp_path: Path, store: Path
) -> None:
    (tmp_path / "a.txt").write_text(prose(300) * 2)
    corpus = load_corpus(tmp_path / "a.txt")
    known = {*store.iterdir()}
    notes = inspect_text(corpus)
    (record,) = {*store.iterdir()} - known
    sound = record.read_bytes()
    record.write_bytes(sound.replace(b"[]", b"[ ]"))
    assert inspect_text(corpus) == notes
    assert record.read_bytes() == sound


def test_cache_is_readable_by_the_user_alone(tmp_path: Path, store: Path) -> None:
    mask = os.umask(0)
    try:
        (tmp_path / "a.txt").write_text(prose(300))
        inspect_text(load_corpus(tmp_path / "a.txt"))
    finally:
        os.umask(mask)
    assert stat.S_IMODE(store.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in store.iterdir()} == {0o600}


def test_cache_that_others_may_write_is_neither_read_nor_written(
    tmp_path: Path, store: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_cache.logger, "propagate", True)
    private_cache._say_once.cache_clear()
    (tmp_path / "a.txt").write_text(prose(300))
    digest = encode_file(tmp_path / "a.txt").metadata.digest
    before = {*store.iterdir()}
    store.chmod(0o777)
    assert load_cached(digest, RARE) is None
    encoding = encode_file(tmp_path / "a.txt")
    assert encoding.text(0, encoding.size) == prose(300)
    assert {*store.iterdir()} == before
    (message,) = {record.getMessage() for record in caplog.records}
    assert f"the cache {store} is not used" in message
    assert message.endswith(f"others may write into {store}. Try chmod go-w {store}")


def test_text_stays_readable_once_the_cache_is_emptied(tmp_path: Path, store: Path) -> None:
    (tmp_path / "a.txt").write_text(prose(3000))
    corpus = load_corpus(tmp_path / "a.txt")
    shutil.rmtree(store)
    assert corpus.encoding.text(0, 3000) == prose(3000)
    assert corpus.encoding.sha256(0, 3000, "chars") == corpus.record.digest.sha256
    assert BatchSampler(corpus.stored_split("train"), 2, 10, seed=0)[0].x.shape == (10, 2)


def test_cut_file_of_ids_is_an_error_not_a_signal(tmp_path: Path, store: Path) -> None:
    (tmp_path / "a.txt").write_text(prose(3000))
    corpus = load_corpus(tmp_path / "a.txt")
    (path,) = store.glob("*.ids")
    os.truncate(path, 100)
    sampler = BatchSampler(corpus.stored_split("train"), 2, 10, seed=0)
    for read in (
        lambda: sampler[0],
        lambda: corpus.split("train"),
        lambda: corpus.encoding.text(0, 3000),
    ):
        with pytest.raises(StorageError, match="it was cut off while it was used. Try"):
            read()
    path.unlink()
    assert load_corpus(tmp_path / "a.txt").encoding.text(0, 3000) == prose(3000)


def test_too_small_a_disk_is_found_before_the_cache_grows(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text(prose(3000))
    monkeypatch.setattr(cache_module.files, "free_bytes", lambda _: 5000)
    with pytest.raises(
        StorageError, match=r"cannot encode the text in .*cache: 6.0 kB are needed, 5.0 kB are free"
    ):
        encode_file(tmp_path / "a.txt")
    assert [*store.iterdir()] == []
    encode_file(tmp_path / "a.txt", BYTE_VOCABULARY)


def test_stored_ids_are_read_as_an_array_is(tmp_path: Path) -> None:
    values = np.arange(1000, dtype="<u2")
    path = tmp_path / "x"
    path.write_bytes(b"12" + values.tobytes())
    stored = StoredIds(CacheFile(os.open(path, os.O_RDONLY), path), 2, "<u2", 1000)
    assert np.array_equal(np.asarray(stored), values) and len(stored) == 1000
    for index in (slice(3, 9), slice(-4, None), slice(990, 2000), slice(7, 2), 5):
        assert np.array_equal(stored[index], values[index])
    assert np.array_equal(stored.span(10, 20)[2:], values[12:20])
    assert np.array_equal(stored.column()[2:4], values[2:4, None])
    starts = np.array([0, 5, 990])
    assert np.array_equal(read_rows(stored, starts, 10), read_rows(values, starts, 10))


class AtStep(NoProgress):
    """Progress that does something once so many steps are trained."""

    def __init__(self, step: int, act: Callable[[], object]) -> None:
        self.step, self.act = step, act

    @contextmanager
    def training(self, *_: object, **__: object) -> Iterator[Callable[[TrainingEvent], object]]:
        yield self.event

    def event(self, event: TrainingEvent) -> None:
        if isinstance(event, StepMetrics) and event.step == self.step:
            self.act()


def test_run_outlives_its_cache(tmp_path: Path, store: Path) -> None:
    """Emptied, it trains on to its report; cut, it ends with 74 after it saved what it learned."""
    (tmp_path / "a.txt").write_text(prose(6000))
    config = validate_config({**TINY, "kernel": "loop", "save_every": 1000.0, "eval_every": 6})
    emptied = AtStep(3, lambda: shutil.rmtree(store))
    run = train(tmp_path / "a.txt", config, run_dir=tmp_path / "emptied", progress=emptied)
    whole = run.report
    assert whole is not None and whole.steps == 12
    cut = AtStep(3, lambda: [os.truncate(path, 10) for path in store.glob("*.ids")])
    with pytest.raises(StorageError, match="cut off while it was used"):
        train(tmp_path / "a.txt", config, run_dir=tmp_path / "cut", progress=cut)
    saved = open_run(tmp_path / "cut").load_checkpoint("last").progress.step
    assert saved == 6
    resumed = train(tmp_path / "a.txt", config, run_dir=tmp_path / "cut", resume=True)
    assert resumed.report is not None
    assert resumed.report.weights_sha256 == whole.weights_sha256


def test_run_does_not_find_a_text_that_is_gone(tmp_path: Path, store: Path) -> None:
    (tmp_path / "a.txt").write_text(prose(600))
    corpus = load_corpus(tmp_path / "a.txt")
    (tmp_path / "a.txt").unlink()
    assert reload_corpus(Config(), corpus.record).split("train").size == 540
    shutil.rmtree(store)
    with pytest.raises(InputNotFoundError, match="a.txt"):
        reload_corpus(Config(), corpus.record)
