"""What a test split costs without a net: evenly, by n-grams and by compressors, in a run's unit."""

import bz2
import hashlib
import importlib
import lzma
import math
import sys
import zlib
from collections.abc import Callable, Container, Iterable, Iterator
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import msgspec
import numpy as np

from charlm import __version__
from charlm.data.corpus import Corpus
from charlm.data.vocabulary import TokenIds
from charlm.evaluation import ngram
from charlm.evaluation.scoring import QUICK_CHARACTERS, map_unknown
from charlm.storage import files
from charlm.storage.json_files import decode_json, encode_json, read_bytes

MAX_NGRAM_TRAINING_TOKENS = (
    ngram.MAX_TRAINING_TOKENS
)  # symbols of train that n-grams are counted of
MAX_COMPRESSION_WINDOW = 1 << 27  # bytes that xz and zstd look back at most: 1.4 GB of memory
Baseline = dict[str, Any]


class Compressor(Protocol):
    """A compressor of the standard library."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def measure_baselines(
    corpus: Corpus, without: Container[str] = (), begins: Callable[[str], None] = lambda _: None
) -> Iterator[Baseline]:
    """The bits of the test split, each with a name, how it was come by, and how long that took;
    `begins` hears the name of what is measured now.

    Uniform and n-grams are static, as a run is: they learn from train alone, and what train never
    had costs the escape and log2(1,114,112) bits more. Compressors are adaptive: they go on
    learning from the test split while they read it, and code any byte. Bits are None where a
    compressor is not installed, or bytes have no characters.
    """
    characters, size = corpus.encoding.count_characters_and_bytes(
        *corpus.record.splits["test"], corpus.vocabulary.kind
    )
    for name, measure in {
        "uniform": _uniform,
        "unigram": _unigram,
        "n-gram": _ngram,
        "gzip": _gzip,
        "bz2": _bz2,
        "xz": _xz,
        "zstd": _zstd,
    }.items():
        if name in without:
            continue
        begins(name)
        begun = perf_counter()
        bits, protocol = measure(corpus)
        yield {
            "name": name,
            "bits_per_char": bits / characters if bits is not None and characters else None,
            "bits_per_byte": bits / size if bits is not None else None,
            "protocol": protocol,
            "seconds": perf_counter() - begun,
        }


def load_or_measure_baselines(
    corpus: Corpus, place: Path, begins: Callable[[str], None]
) -> list[Baseline]:
    """The same, each measured once and kept in this directory, by the text and its splits; what is
    not installed is looked for again."""
    about = (__version__, corpus.record.digest, corpus.record.splits, corpus.vocabulary.kind)
    key = hashlib.sha256(msgspec.json.encode(about)).hexdigest()
    path = place / f"baselines-{key[:8]}.json"
    there = decode_json(read_bytes(path), dict[str, Baseline], path) if path.exists() else {}
    found = {name: one for name, one in there.items() if one["bits_per_byte"] is not None}
    for one in measure_baselines(corpus, found, begins):
        found[one["name"]] = one
        files.write_atomic(path, encode_json(found))
    return list(found.values())


BaselineResult = tuple[float | None, str]


def _uniform(corpus: Corpus) -> BaselineResult:
    text = corpus.split("test")
    bits = len(text) * math.log2(corpus.vocabulary.size) + _unk_bits(corpus, text)
    return bits, f"static: each of {corpus.vocabulary.size} symbols alike"


def _unigram(corpus: Corpus) -> BaselineResult:
    counted, said = _ngram_training_ids(corpus)
    return _ngram_bits(corpus, counted, 1), f"static: how often in {said}"


def _ngram(corpus: Corpus) -> BaselineResult:
    counted, said = _ngram_training_ids(corpus)
    valid = map_unknown(corpus.split("valid")[:QUICK_CHARACTERS], corpus.vocabulary)
    tried = ngram.token_nll_by_order(counted, valid, np.arange(len(valid)), corpus.vocabulary.size)
    best = 2 + int(tried[1:].mean(1).argmin())
    return (
        _ngram_bits(corpus, counted, best),
        f"static: interpolated Kneser-Ney of {said}, order {best} of 2 to {ngram.ORDER} "
        f"chosen on {len(valid):,} symbols of valid",
    )


def _ngram_training_ids(corpus: Corpus) -> tuple[TokenIds, str]:
    train = corpus.split("train")
    return train[
        -MAX_NGRAM_TRAINING_TOKENS:
    ], f"the last {MAX_NGRAM_TRAINING_TOKENS:,} of train" if len(
        train
    ) > MAX_NGRAM_TRAINING_TOKENS else "train"


def _ngram_bits(corpus: Corpus, counted: TokenIds, order: int) -> float:
    """Bits of the test split, each symbol after what stands before it there."""
    text = corpus.split("test")
    ids = map_unknown(text, corpus.vocabulary)
    nats = ngram.token_nll(counted, ids, np.arange(len(ids)), corpus.vocabulary.size, order)
    return math.fsum(nats) / math.log(2) + _unk_bits(corpus, text)


def _unk_bits(corpus: Corpus, text: TokenIds) -> float:
    """Bits of naming the characters that train never had."""
    escape = corpus.vocabulary.unk_id
    unseen = 0 if escape is None else int((text >= escape).sum())
    return unseen * corpus.vocabulary.unk_cost_nats / math.log(2)


def _gzip(corpus: Corpus) -> BaselineResult:
    return _conditional_compressed_bits(
        corpus, lambda: zlib.compressobj(9, wbits=31)
    ), _describe_compressor("looks 32 KiB back")


def _bz2(corpus: Corpus) -> BaselineResult:
    return _conditional_compressed_bits(corpus, bz2.BZ2Compressor), _describe_compressor(
        "every 900 kB on their own"
    )


def _xz(corpus: Corpus) -> BaselineResult:
    window, said = _compression_window(corpus)
    best = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": window}
    return _conditional_compressed_bits(
        corpus, lambda: lzma.LZMACompressor(filters=[best])
    ), _describe_compressor(said)


def _zstd(corpus: Corpus) -> BaselineResult:
    new = sys.version_info >= (3, 14)
    try:
        zstd = importlib.import_module("compression.zstd" if new else "backports.zstd")
    except ModuleNotFoundError:
        return None, "not installed: pip install 'charlm[zstd]'"
    window, said = _compression_window(corpus)
    options = {
        zstd.CompressionParameter.compression_level: 19,
        zstd.CompressionParameter.window_log: (window - 1).bit_length(),
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    return _conditional_compressed_bits(
        corpus, lambda: zstd.ZstdCompressor(options=options)
    ), _describe_compressor(said)


def _describe_compressor(looks: str) -> str:
    return f"adaptive: C(train + test) - C(train), {looks}"


def _compression_window(corpus: Corpus) -> tuple[int, str]:
    """Bytes that hold train and test, if so many may be held."""
    spans = (corpus.record.splits[name] for name in ("train", "test"))
    size = sum(
        corpus.encoding.count_characters_and_bytes(*span, corpus.vocabulary.kind)[1]
        for span in spans
    )
    window = min(max(size, 1 << 12), MAX_COMPRESSION_WINDOW)
    if size <= window:
        return window, "looks back at all of it"
    return window, f"looks {window >> 10:,} KiB back"


def _conditional_compressed_bits(corpus: Corpus, packer: Callable[[], Compressor]) -> float:
    """Bits by which train grows, packed, when test comes after it."""
    (start, end), test = (corpus.record.splits[name] for name in ("train", "test"))
    train = (
        max(start, end - MAX_COMPRESSION_WINDOW),
        end,
    )  # none looks further back: more only takes time
    kind = corpus.vocabulary.kind
    alone = _compressed_size(packer(), corpus.encoding.iter_bytes(*train, kind))
    both = chain(corpus.encoding.iter_bytes(*train, kind), corpus.encoding.iter_bytes(*test, kind))
    return 8.0 * (_compressed_size(packer(), both) - alone)


def _compressed_size(packer: Compressor, pieces: Iterable[bytes]) -> int:
    return sum(len(packer.compress(piece)) for piece in pieces) + len(packer.flush())
