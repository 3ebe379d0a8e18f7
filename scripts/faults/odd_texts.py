"""Odd texts: any bytes are encoded without loss or refused, also while their file changes."""

import codecs
import hashlib
import io
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import hypothesis
from hypothesis import strategies

from charlm.data import encoded_text, sources, stored_ids
from charlm.data.encoded_text import EncodedText
from charlm.data.formats import identify
from charlm.data.sources import TextSource, resolve_sources
from charlm.data.vocabulary import BYTE_VOCABULARY, Vocabulary, VocabularyKind
from charlm.errors import CharlmError, DataError
from charlm.results.text import VocabularyRule
from faults.hazard import Hazard
from faults.places import memory_directory
from faults.processes import cpu_seconds

ROUND_TRIPS = 10_000
CHANGES = 2000
ALL_OF_UNICODE = 0.1  # scale from which on it is encoded: seconds
ODD = ("", "\0", "\ufeff", "\r", "\r\n", "\n", "\x85", "\u2028", "e\u0301", "\U0010ffff", "\x1b[2J")
ODD_BYTES = (b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xff\xfea\0", b"\xef\xbb\xbf", b"\x1f\x8b")
KNOWN = Vocabulary("chars", (ord("e"), ord("a"), 0x10FFFF))
VOCABULARIES = (VocabularyRule(), VocabularyRule("1/2", 0.02), KNOWN, BYTE_VOCABULARY)
CHANGED = ("shrinks", "grows", "differs", "vanishes", "pipe", "replaced")

characters = strategies.text() | strategies.lists(
    strategies.sampled_from(ODD) | strategies.text(max_size=3)
).map("".join)
pieces = strategies.sampled_from(ODD_BYTES) | strategies.binary(max_size=6)
texts = characters.map(str.encode) | strategies.lists(pieces).map(b"".join)


def run(scale: float) -> Hazard:
    """Encode generated texts, and files that change between and within the passes."""
    started, failures = cpu_seconds(), []
    round_trips, changes = max(20, round(ROUND_TRIPS * scale)), max(12, round(CHANGES * scale))
    with memory_directory() as directory, _cache(directory / "cache"):
        try:
            _encode_generated(round_trips)
        except AssertionError as error:
            failures.append(f"round trip: {str(error)[:300]}")
        draw = random.Random(1)
        for number in range(changes):
            failures += _change(directory, CHANGED[number % len(CHANGED)], draw)
        if scale >= ALL_OF_UNICODE:
            failures += _encode_all_of_unicode()
    return Hazard(
        "odd text, or one that changes while it is read",
        "texts of Hypothesis in four vocabularies and with short chunks, decoded again; files that "
        "shrink, grow, differ, vanish or are replaced before any chunk; all of Unicode",
        round_trips + changes + (scale >= ALL_OF_UNICODE),
        tuple(failures[:50]),
        cpu_seconds() - started,
    )


@contextmanager
def _cache(directory: Path) -> Iterator[None]:
    before = os.environ.get("CHARLM_CACHE")
    os.environ["CHARLM_CACHE"] = str(directory)
    try:
        yield
    finally:
        del os.environ["CHARLM_CACHE"]
        if before:
            os.environ["CHARLM_CACHE"] = before


@contextmanager
def _chunks(length: int) -> Iterator[None]:
    """Read and write chunks of this length."""
    modules = (sources, encoded_text, stored_ids)
    before = [vars(module)["CHUNK_BYTES"] for module in modules]
    for module in modules:
        vars(module)["CHUNK_BYTES"] = length
    try:
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            vars(module)["CHUNK_BYTES"] = value


def _encode_generated(count: int) -> None:
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(
        texts, strategies.sampled_from(VOCABULARIES), strategies.sampled_from((1, 2, 3, 7, 1 << 22))
    )
    def is_lossless(data: bytes, vocabulary: Vocabulary | VocabularyRule, chunk: int) -> None:
        with _chunks(chunk):
            _check_round_trip(data, vocabulary, may_be_refused=chunk < 1 << 22)

    is_lossless()


def _check_round_trip(
    data: bytes, vocabulary: Vocabulary | VocabularyRule, *, may_be_refused: bool
) -> None:
    """Check that bytes are the same after encoding and decoding, or are refused with reason."""
    source = TextSource("text", partial(io.BytesIO, data))
    try:
        encoding = encoded_text.encode([[source]], vocabulary)
    except DataError as error:
        is_text = vocabulary != BYTE_VOCABULARY and _is_valid(data) and identify(data) is None
        is_rule = isinstance(vocabulary, VocabularyRule)
        has_reason = is_rule and (b"\0" in data or "none of its" in str(error))
        # Where the first chunk is short, its bytes alone may look like another format.
        has_reason |= may_be_refused and (" is " in str(error) or " looks like " in str(error))
        assert vocabulary != BYTE_VOCABULARY, f"{data!r}: bytes refused: {error}"
        assert not is_text or has_reason, f"{data!r}: {error}"
        return
    _check_encoding(encoding, data, vocabulary)


def _check_encoding(
    encoding: EncodedText, data: bytes, vocabulary: Vocabulary | VocabularyRule
) -> None:
    kind: VocabularyKind = "bytes" if vocabulary == BYTE_VOCABULARY else "chars"
    decoded = b"".join(encoding.iter_bytes(0, encoding.size, kind))
    assert decoded == data, f"{data!r} in {vocabulary} became {decoded!r}"
    digest = hashlib.sha256(data).hexdigest()
    assert encoding.sha256(0, encoding.size, kind) == digest == encoding.metadata.digest.sha256
    if kind == "chars":
        unknown = sum(encoding.unknown_characters().values())
        assert unknown == encoding.count_unknown(0, encoding.size), data
        ids = encoding.ids[:]
        assert not len(ids) or ids.max() <= len(encoding.metadata.tokens), data


def _is_valid(data: bytes) -> bool:
    try:
        codecs.decode(data)
    except UnicodeDecodeError:
        return False
    return True


def _encode_all_of_unicode() -> list[str]:
    points = (point for point in range(1, 0x110000) if not 0xD800 <= point < 0xE000)
    data = "".join(map(chr, points)).encode()
    try:
        _check_round_trip(data, VocabularyRule(), may_be_refused=False)
    except AssertionError as error:
        return [f"all of Unicode: {str(error)[:100]}"]
    return []


def _become_pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _change(directory: Path, kind: str, draw: random.Random) -> list[str]:
    """Encode a file that changes before one of its chunks; it is refused or read whole."""
    path = directory / "changing"
    data = "".join(draw.choices("abcdé\n", k=60)).encode()
    path.write_bytes(data)
    waiting = draw.randrange(2 * len(data) // 16 + 2)  # chunks until the change
    acts: dict[str, Callable[[], object]] = {
        "shrinks": lambda: os.truncate(path, draw.randrange(len(data))),
        "grows": lambda: path.write_bytes(path.read_bytes() + b"more"),
        "differs": lambda: path.write_bytes(data[::-1]),
        "vanishes": lambda: path.unlink(missing_ok=True),
        "pipe": lambda: _become_pipe(path),
        "replaced": lambda: (path.rename(f"{path}-old"), path.write_bytes(b"o" * len(data))),
    }
    read = TextSource.chunks

    def chunks(self: TextSource) -> Iterator[bytes]:
        nonlocal waiting
        for chunk in read(self):
            if waiting == 0:
                acts[kind]()
            waiting -= 1
            yield chunk
        if waiting == 0:
            acts[kind]()
        waiting -= 1

    TextSource.chunks = chunks  # type: ignore[method-assign]
    try:
        with _chunks(16):
            found = resolve_sources([str(path)]).sources
            encoding = encoded_text.encode([found], BYTE_VOCABULARY)
            decoded = b"".join(encoding.iter_bytes(0, encoding.size, "bytes"))
            if hashlib.sha256(decoded).hexdigest() != encoding.metadata.digest.sha256:
                return [f"a file that {kind}: what is encoded is not what was hashed"]
    except CharlmError as error:
        if error.code not in (65, 66):
            return [f"a file that {kind}: exit {error.code}: {error}"]
    except Exception as error:  # any other error is a failure
        return [f"a file that {kind}: {type(error).__name__}: {error}"]
    finally:
        TextSource.chunks = read  # type: ignore[method-assign]
        path.unlink(missing_ok=True)
        Path(f"{path}-old").unlink(missing_ok=True)
    return []
