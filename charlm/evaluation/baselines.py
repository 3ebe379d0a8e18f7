"""Baselines: reference scores of a test split (uniform, n-grams, gzip, bz2, xz, zstd).

A static baseline learns from train alone, as a run does. A token that train lacks costs the unknown
token and log2(1,114,112) bits more. An adaptive baseline, a compressor, goes on learning while it
reads the test split, and codes any byte.

To add a baseline, write one function with the decorator `register_baseline`.
"""

import bz2
import hashlib
import importlib
import logging
import lzma
import math
import sys
import zlib
from collections.abc import Callable, Collection, Iterable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import numpy as np

from charlm import __version__
from charlm.data.corpus import Corpus
from charlm.errors import DataError
from charlm.evaluation import ngram
from charlm.evaluation.ngram_baseline import (
    measure_ngram,
    ngram_training_ids,
    read_training_ids,
    unknown_bits,
)
from charlm.registry import unknown_name_error
from charlm.results.baselines import BaselineCache, BaselineDetails, BaselineKind, BaselineResult
from charlm.storage import files
from charlm.storage.json_files import read_sealed_json, seal_json

MAX_COMPRESSION_WINDOW = 1 << 27  # bytes of history for xz and zstd: 1.4 GB of memory
GZIP_WINDOW = 1 << 15  # bytes
BZ2_BLOCK = 900_000  # bytes
READ_NGRAM = "n-gram-read"  # n-gram of only as many characters as a run has read
logger = logging.getLogger("charlm")


Measurement = tuple[float | None, BaselineDetails]  # bits of the whole test split
_Key = tuple[str, int | None]  # name, and tokens of train for the n-gram of only so many


class Baseline(NamedTuple):
    """Registered baseline."""

    kind: BaselineKind
    measure: Callable[[Corpus], Measurement]


class Compressor(Protocol):
    """Compressor of the standard library."""

    def compress(self, data: bytes, /) -> bytes:
        """Compress data; return what is finished."""
        ...

    def flush(self) -> bytes:
        """Return the rest."""
        ...


BASELINES: dict[str, Baseline] = {}  # by name, in the order of reports


def register_baseline(
    name: str, kind: BaselineKind
) -> Callable[[Callable[[Corpus], Measurement]], Callable[[Corpus], Measurement]]:
    """Return a decorator that registers a function from a corpus to the bits of its test split."""

    def register(measure: Callable[[Corpus], Measurement]) -> Callable[[Corpus], Measurement]:
        assert name not in BASELINES, f"two baselines are called {name!r}"
        BASELINES[name] = Baseline(kind, measure)
        return measure

    return register


def validate_baseline_names(names: Collection[str]) -> None:
    """Raise ConfigError if there is no baseline of a name."""
    for name in names:
        if name not in BASELINES:
            raise unknown_name_error("baseline", name, BASELINES)


def measure_baselines(
    corpus: Corpus,
    directory: Path | None = None,
    names: Collection[str] | None = None,
    characters_read: int | None = None,
) -> list[BaselineResult]:
    """Measure baselines on the test split of a corpus.

    Args:
        corpus: Corpus with its splits.
        directory: Where results are cached in `baselines-KEY.json`, by text, splits and version;
            None: no cache. Compressors that were not installed are looked for again.
        names: Baselines to measure; default: all.
        characters_read: Tokens of train that each run reads. If they are fewer than train has, the
            n-gram of only so many is measured beside the n-gram: "n-gram-read".

    Returns:
        One result per baseline, in the order of `BASELINES`, then "n-gram-read".

    Raises:
        ConfigError: There is no baseline of a name.
    """
    wanted = BASELINES if names is None else names
    validate_baseline_names(wanted)
    measures: dict[_Key, tuple[BaselineKind, Callable[[], Measurement]]] = {}
    for name, baseline in BASELINES.items():
        if name in wanted:
            measures[name, None] = baseline.kind, partial(baseline.measure, corpus)
    if "n-gram" in wanted and (characters_read or math.inf) < len(corpus.stored_split("train")):
        train, details = read_training_ids(corpus, characters_read or 0)
        key = (READ_NGRAM, details.training_tokens)
        measures[key] = "static", partial(measure_ngram, corpus, train, details)
    path = directory and directory / f"baselines-{_cache_key(corpus)[:8]}.json"
    results: dict[_Key, BaselineResult] = {}
    if path and path.exists():
        results = {
            _key(result): result for result in _read_cache(path) if result.bits_per_byte is not None
        }
    for key, (kind, measure) in measures.items():
        if key in results:
            continue
        name, _ = key
        logger.info("measuring %s", name)
        bits, details = measure()
        results[key] = _result(corpus, name, kind, bits, details)
        if path:
            cache = BaselineCache(results=tuple(results.values()))
            files.write_atomic(path, seal_json(cache))
    return [results[key] for key in measures]


def ngram_memory(
    corpus: Corpus, lengths: Iterable[int], directory: Path | None = None
) -> tuple[tuple[int, float], ...]:
    """Return (k, bits per character that an n-gram loses if it sees only k tokens) for each k.

    It is an n-gram of order k + 1 against the baseline. Beyond the order of that, nothing is lost.

    Args:
        corpus: Corpus with its splits.
        lengths: Numbers k of tokens of context.
        directory: Where `measure_baselines` caches its results.
    """
    (result,) = measure_baselines(corpus, directory, ["n-gram"])
    assert result.order is not None
    bits = result.bits_by_order[: result.order]
    return tuple((k, bits[min(k, result.order - 1)] - bits[-1]) for k in lengths)


def _read_cache(path: Path) -> tuple[BaselineResult, ...]:
    """Return cached results; none, with a warning, if they are damaged: they are measured again."""
    try:
        return read_sealed_json(path, BaselineCache).results
    except DataError as error:
        logger.warning("%s; measuring the baselines again", error)
        return ()


def _key(result: BaselineResult) -> _Key:
    return result.name, result.training_tokens if result.name == READ_NGRAM else None


def _cache_key(corpus: Corpus) -> str:
    record = corpus.record
    identity = (__version__, record.digest, record.splits, corpus.vocabulary)
    return hashlib.sha256(msgspec.json.encode(identity)).hexdigest()


def _result(
    corpus: Corpus,
    name: str,
    kind: BaselineKind,
    bits: float | None,
    details: BaselineDetails,
) -> BaselineResult:
    characters, num_bytes = corpus.encoding.count_characters_and_bytes(
        *corpus.record.splits["test"], corpus.vocabulary.kind
    )
    return BaselineResult(
        name=name,
        kind=kind,
        bits_per_char=bits / characters if bits is not None and characters else None,
        bits_per_byte=bits / num_bytes if bits is not None else None,
        **msgspec.structs.asdict(details),
    )


@register_baseline("uniform", kind="static")
def uniform(corpus: Corpus) -> Measurement:
    """Give every token of the vocabulary the same probability."""
    ids, size = corpus.split("test"), corpus.vocabulary.size
    bits = len(ids) * math.log2(size) + unknown_bits(corpus, ids)
    return bits, BaselineDetails(vocabulary_size=size)


@register_baseline("unigram", kind="static")
def unigram(corpus: Corpus) -> Measurement:
    """Predict tokens by their frequency in train."""
    train, details = ngram_training_ids(corpus)
    ids = corpus.split("test").astype(np.int64)
    nats = ngram.token_nll(train, ids, np.arange(len(ids)), corpus.vocabulary.size, order=1)
    bits = math.fsum(nats) / math.log(2) + unknown_bits(corpus, ids)
    return bits, msgspec.structs.replace(details, order=1)


@register_baseline("n-gram", kind="static")
def interpolated_ngram(corpus: Corpus) -> Measurement:
    """Predict tokens by modified Kneser-Ney of the order that is best on valid."""
    return measure_ngram(corpus, *ngram_training_ids(corpus))


@register_baseline("gzip", kind="adaptive")
def gzip(corpus: Corpus) -> Measurement:
    """Compress with gzip at its highest level."""
    bits = _conditional_compressed_bits(corpus, lambda: zlib.compressobj(9, wbits=31))
    return bits, BaselineDetails(window_bytes=GZIP_WINDOW)


@register_baseline("bz2", kind="adaptive")
def bzip2(corpus: Corpus) -> Measurement:
    """Compress with bzip2 at its highest level."""
    bits = _conditional_compressed_bits(corpus, bz2.BZ2Compressor)
    return bits, BaselineDetails(block_bytes=BZ2_BLOCK)


@register_baseline("xz", kind="adaptive")
def xz(corpus: Corpus) -> Measurement:
    """Compress with LZMA2 at its highest level."""
    window, is_limited = _compression_window(corpus)
    lzma2 = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": window}
    bits = _conditional_compressed_bits(corpus, lambda: lzma.LZMACompressor(filters=[lzma2]))
    return bits, BaselineDetails(window_bytes=window if is_limited else None)


@register_baseline("zstd", kind="adaptive")
def zstandard(corpus: Corpus) -> Measurement:
    """Compress with Zstandard at level 19; part of Python from 3.14 on."""
    is_builtin = sys.version_info >= (3, 14)
    try:
        zstd = importlib.import_module("compression.zstd" if is_builtin else "backports.zstd")
    except ModuleNotFoundError:
        return None, BaselineDetails(missing_package="zstd")
    window, is_limited = _compression_window(corpus)
    options = {
        zstd.CompressionParameter.compression_level: 19,
        zstd.CompressionParameter.window_log: (window - 1).bit_length(),
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    bits = _conditional_compressed_bits(corpus, lambda: zstd.ZstdCompressor(options=options))
    return bits, BaselineDetails(window_bytes=window if is_limited else None)


def _compression_window(corpus: Corpus) -> tuple[int, bool]:
    """Return bytes of history, and whether that is less than train and test together."""
    spans = (corpus.record.splits[name] for name in ("train", "test"))
    size = sum(
        corpus.encoding.count_characters_and_bytes(*span, corpus.vocabulary.kind)[1]
        for span in spans
    )
    window = min(max(size, 1 << 12), MAX_COMPRESSION_WINDOW)
    return window, size > window


def _conditional_compressed_bits(
    corpus: Corpus, make_compressor: Callable[[], Compressor]
) -> float:
    """Return C(train + test) - C(train): bits that the test split adds to compressed train."""
    (start, end), test = (corpus.record.splits[name] for name in ("train", "test"))
    train = (max(start, end - MAX_COMPRESSION_WINDOW), end)  # more history has no effect
    kind = corpus.vocabulary.kind
    alone = _compressed_size(make_compressor(), corpus.encoding.iter_bytes(*train, kind))
    both = chain(corpus.encoding.iter_bytes(*train, kind), corpus.encoding.iter_bytes(*test, kind))
    return 8.0 * (_compressed_size(make_compressor(), both) - alone)


def _compressed_size(compressor: Compressor, pieces: Iterable[bytes]) -> int:
    return sum(len(compressor.compress(piece)) for piece in pieces) + len(compressor.flush())
