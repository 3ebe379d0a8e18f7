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

from charlm import __version__, durable, ngram
from charlm.alphabet import Ids
from charlm.checkpoint import decoded, read, readable
from charlm.corpus import Corpus
from charlm.evaluate import QUICK_CHARACTERS, seen_or_escape

COUNTED = ngram.COUNTED  # symbols of train that n-grams are counted of
DICTIONARY = 1 << 27  # bytes that xz and zstd look back at most: 1.4 GB of memory

Baseline = dict[str, Any]


class Packer(Protocol):
    """A compressor of the standard library."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def baselines(
    corpus: Corpus, without: Container[str] = (), begins: Callable[[str], None] = lambda _: None
) -> Iterator[Baseline]:
    """The bits of the test split, each with a name, how it was come by, and how long that took;
    `begins` hears the name of what is measured now.

    Uniform and n-grams are static, as a run is: they learn from train alone, and what train never
    had costs the escape and log2(1,114,112) bits more. Compressors are adaptive: they go on
    learning from the test split while they read it, and code any byte. Bits are None where a
    compressor is not installed, or bytes have no characters.
    """
    characters, size = corpus.encoding.measure(*corpus.text.splits["test"], corpus.alphabet.kind)
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


def kept(corpus: Corpus, place: Path, begins: Callable[[str], None]) -> list[Baseline]:
    """The same, each measured once and kept in this directory, by the text and its splits; what is
    not installed is looked for again."""
    about = (__version__, corpus.text.digest, corpus.text.splits, corpus.alphabet.kind)
    key = hashlib.sha256(msgspec.json.encode(about)).hexdigest()
    path = place / f"baselines-{key[:8]}.json"
    there = decoded(read(path), dict[str, Baseline], path) if path.exists() else {}
    found = {name: one for name, one in there.items() if one["bits_per_byte"] is not None}
    for one in baselines(corpus, found, begins):
        found[one["name"]] = one
        durable.write_file(path, readable(found))
    return list(found.values())


Measured = tuple[float | None, str]


def _uniform(corpus: Corpus) -> Measured:
    text = corpus.split("test")
    bits = len(text) * math.log2(corpus.alphabet.size) + _escapes(corpus, text)
    return bits, f"static: each of {corpus.alphabet.size} symbols alike"


def _unigram(corpus: Corpus) -> Measured:
    counted, said = _counted(corpus)
    return _cost(corpus, counted, 1), f"static: how often in {said}"


def _ngram(corpus: Corpus) -> Measured:
    counted, said = _counted(corpus)
    valid = seen_or_escape(corpus.split("valid")[:QUICK_CHARACTERS], corpus.alphabet)
    tried = ngram.every_order(counted, valid, np.arange(len(valid)), corpus.alphabet.size)
    best = 2 + int(tried[1:].mean(1).argmin())
    return (
        _cost(corpus, counted, best),
        f"static: interpolated Kneser-Ney of {said}, order {best} of 2 to {ngram.ORDER} "
        f"chosen on {len(valid):,} symbols of valid",
    )


def _counted(corpus: Corpus) -> tuple[Ids, str]:
    train = corpus.split("train")
    return train[-COUNTED:], f"the last {COUNTED:,} of train" if len(train) > COUNTED else "train"


def _cost(corpus: Corpus, counted: Ids, order: int) -> float:
    """Bits of the test split, each symbol after what stands before it there."""
    text = corpus.split("test")
    ids = seen_or_escape(text, corpus.alphabet)
    nats = ngram.costs(counted, ids, np.arange(len(ids)), corpus.alphabet.size, order)
    return math.fsum(nats) / math.log(2) + _escapes(corpus, text)


def _escapes(corpus: Corpus, text: Ids) -> float:
    """Bits of naming the characters that train never had."""
    escape = corpus.alphabet.escape
    unseen = 0 if escape is None else int((text >= escape).sum())
    return unseen * corpus.alphabet.escape_nats / math.log(2)


def _gzip(corpus: Corpus) -> Measured:
    return _added(corpus, lambda: zlib.compressobj(9, wbits=31)), _adaptive("looks 32 KiB back")


def _bz2(corpus: Corpus) -> Measured:
    return _added(corpus, bz2.BZ2Compressor), _adaptive("every 900 kB on their own")


def _xz(corpus: Corpus) -> Measured:
    window, said = _window(corpus)
    best = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": window}
    return _added(corpus, lambda: lzma.LZMACompressor(filters=[best])), _adaptive(said)


def _zstd(corpus: Corpus) -> Measured:
    new = sys.version_info >= (3, 14)
    try:
        zstd = importlib.import_module("compression.zstd" if new else "backports.zstd")
    except ModuleNotFoundError:
        return None, "not installed: pip install 'charlm[zstd]'"
    window, said = _window(corpus)
    options = {
        zstd.CompressionParameter.compression_level: 19,
        zstd.CompressionParameter.window_log: (window - 1).bit_length(),
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    return _added(corpus, lambda: zstd.ZstdCompressor(options=options)), _adaptive(said)


def _adaptive(looks: str) -> str:
    return f"adaptive: C(train + test) - C(train), {looks}"


def _window(corpus: Corpus) -> tuple[int, str]:
    """Bytes that hold train and test, if so many may be held."""
    spans = (corpus.text.splits[name] for name in ("train", "test"))
    size = sum(corpus.encoding.measure(*span, corpus.alphabet.kind)[1] for span in spans)
    window = min(max(size, 1 << 12), DICTIONARY)
    if size <= window:
        return window, "looks back at all of it"
    return window, f"looks {window >> 10:,} KiB back"


def _added(corpus: Corpus, packer: Callable[[], Packer]) -> float:
    """Bits by which train grows, packed, when test comes after it."""
    (start, end), test = (corpus.text.splits[name] for name in ("train", "test"))
    train = max(start, end - DICTIONARY), end  # none looks further back: more only takes time
    kind = corpus.alphabet.kind
    alone = _packed(packer(), corpus.encoding.data(*train, kind))
    both = chain(corpus.encoding.data(*train, kind), corpus.encoding.data(*test, kind))
    return 8.0 * (_packed(packer(), both) - alone)


def _packed(packer: Packer, pieces: Iterable[bytes]) -> int:
    return sum(len(packer.compress(piece)) for piece in pieces) + len(packer.flush())
