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
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import numpy as np

from charlm import __version__
from charlm.data.corpus import Corpus
from charlm.data.vocabulary import TokenIds
from charlm.evaluation import ngram
from charlm.evaluation.scoring import VALIDATION_TOKENS
from charlm.registry import unknown_name_error
from charlm.results.comparison import BaselineCache, BaselineDetails, BaselineKind, BaselineResult
from charlm.storage import files
from charlm.storage.json_files import decode_json, encode_json, read_bytes

MAX_COMPRESSION_WINDOW = 1 << 27  # bytes of history for xz and zstd: 1.4 GB of memory
GZIP_WINDOW = 1 << 15  # bytes
BZ2_BLOCK = 900_000  # bytes
logger = logging.getLogger("charlm")


Measurement = tuple[float | None, BaselineDetails]  # bits of the whole test split


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
    corpus: Corpus, directory: Path | None = None, names: Collection[str] | None = None
) -> list[BaselineResult]:
    """Measure baselines on the test split of a corpus.

    Args:
        corpus: Corpus with its splits.
        directory: Where results are cached in `baselines-KEY.json`, by text, splits and version;
            None: no cache. Compressors that were not installed are looked for again.
        names: Baselines to measure; default: all.

    Returns:
        One result per baseline, in the order of `BASELINES`.

    Raises:
        ConfigError: There is no baseline of a name.
    """
    wanted = BASELINES if names is None else names
    validate_baseline_names(wanted)
    path = None if directory is None else directory / f"baselines-{_cache_key(corpus)[:8]}.json"
    results: dict[str, BaselineResult] = {}
    if path and path.exists():
        cached = decode_json(read_bytes(path), BaselineCache, path).results
        results = {result.name: result for result in cached if result.bits_per_byte is not None}
    for name, baseline in BASELINES.items():
        if name not in wanted or name in results:
            continue
        logger.info("measuring %s", name)
        bits, details = baseline.measure(corpus)
        results[name] = _result(corpus, name, baseline.kind, bits, details)
        if path:
            cache = BaselineCache(results=tuple(results.values()))
            files.write_atomic(path, encode_json(cache))
    return [results[name] for name in BASELINES if name in wanted]


def _cache_key(corpus: Corpus) -> str:
    record = corpus.record
    identity = (__version__, record.digest, record.splits, corpus.vocabulary.kind)
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
    bits = len(ids) * math.log2(size) + _unknown_bits(corpus, ids)
    return bits, BaselineDetails(vocabulary_size=size)


@register_baseline("unigram", kind="static")
def unigram(corpus: Corpus) -> Measurement:
    """Predict tokens by their frequency in train."""
    train, details = _ngram_training_ids(corpus)
    return _ngram_bits(corpus, train, order=1), msgspec.structs.replace(details, order=1)


@register_baseline("n-gram", kind="static")
def interpolated_ngram(corpus: Corpus) -> Measurement:
    """Predict tokens by interpolated Kneser-Ney of the order that is best on valid."""
    train, details = _ngram_training_ids(corpus)
    valid = corpus.split("valid")[:VALIDATION_TOKENS].astype(np.int64)
    nats = ngram.token_nll_by_order(train, valid, np.arange(len(valid)), corpus.vocabulary.size)
    order = 2 + int(nats[1:].mean(1).argmin())
    details = msgspec.structs.replace(
        details, order=order, max_order=ngram.ORDER, selection_tokens=len(valid)
    )
    return _ngram_bits(corpus, train, order), details


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


def _ngram_training_ids(corpus: Corpus) -> tuple[TokenIds, BaselineDetails]:
    """Return the last ids of train, as many as can be counted."""
    train = corpus.split("train")
    counted = train[-ngram.MAX_TRAINING_TOKENS :]
    is_partial = len(counted) < len(train)
    return counted, BaselineDetails(training_tokens=len(counted), training_is_partial=is_partial)


def _ngram_bits(corpus: Corpus, train: TokenIds, order: int) -> float:
    """Return bits of the test split, each token after those that precede it there."""
    test = corpus.split("test")
    ids = test.astype(np.int64)
    nats = ngram.token_nll(train, ids, np.arange(len(ids)), corpus.vocabulary.size, order)
    return math.fsum(nats) / math.log(2) + _unknown_bits(corpus, test)


def _unknown_bits(corpus: Corpus, ids: TokenIds) -> float:
    """Return bits to name the characters that train lacks."""
    unk_id = corpus.vocabulary.unk_id
    unknown = 0 if unk_id is None else int((ids >= unk_id).sum())
    return unknown * corpus.vocabulary.unk_cost_nats / math.log(2)


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
