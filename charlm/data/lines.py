"""Lines as items: a text whose lines are shared among splits and shuffled, by their hashes."""

import hashlib
import os
from array import array
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from charlm.data.encoder import Utf8Decoder
from charlm.data.readers import lay_aside, open_temporary
from charlm.data.sources import TextSource
from charlm.data.stored_ids import CacheFile
from charlm.storage import files

HASH_BYTES = 8
HASHES = 1 << 64  # number of values
SEED = (0).to_bytes(HASH_BYTES, "little")
Numbers = NDArray[np.uint64]


def split_lines(
    sources: Sequence[TextSource], shares: Sequence[Fraction], is_bytes: bool
) -> list[TextSource]:
    """Return the lines of each split as one source, each with its line end.

    A line goes to a split by a hash of its bytes, so identical lines are never in two splits. Their
    order within a split is that of a hash, too: what precedes a line says nothing about it. A line
    without a line end comes last.

    Args:
        sources: Text.
        shares: Cumulative share of the lines up to and with each split; the last is 1.
        is_bytes: Whether the text need not be UTF-8.

    Raises:
        DataError: The text is not UTF-8.
    """
    hashes, lengths = array("Q"), array("Q")
    unterminated: list[int] = []
    descriptor, directory = open_temporary()
    with os.fdopen(descriptor, "w+b") as copy:
        with files.translate_os_errors("lay the lines aside in", directory):
            for source in sources:
                for line in _iter_lines(source, is_bytes):
                    body = line.removesuffix(b"\n")
                    if len(body) == len(line):
                        unterminated.append(len(hashes))
                    digest = hashlib.blake2b(body, digest_size=HASH_BYTES, key=SEED).digest()
                    hashes.append(int.from_bytes(digest, "little"))
                    lengths.append(len(line))
                    copy.write(line)
            copy.flush()
        values = np.frombuffer(hashes, np.uint64) if hashes else np.zeros(0, np.uint64)
        starts = np.concatenate(([0], np.cumsum(np.frombuffer(lengths, np.uint64).astype(int))))
        order = _shuffled(values, unterminated)
        bounds = [min(int(HASHES * share), HASHES - 1) for share in shares[:-1]]
        split_of = np.searchsorted(np.array(bounds, np.uint64), values, side="right")[order]
        name = sources[0].name
        text = CacheFile(os.dup(copy.fileno()), directory)
        return [
            TextSource(name, lay_aside(name, _lines_at(text, starts, order[split_of == n])), name)
            for n in range(len(shares))
        ]


def _lines_at(
    text: CacheFile, starts: NDArray[np.int64], numbers: NDArray[np.int64]
) -> Iterator[bytes]:
    """Iterate over the lines with these numbers, in an order in which they do not lie."""
    for number in numbers.tolist():
        start, end = starts[number : number + 2].tolist()
        yield text.read(start, end - start)


def _iter_lines(source: TextSource, is_bytes: bool) -> Iterator[bytes]:
    decoder = Utf8Decoder(source.name, is_new=True)
    pending = b""
    for chunk in source.chunks():
        if not is_bytes:  # an error names the place in the file, not among the shuffled lines
            decoder.decode_text(chunk)
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"
    if not is_bytes:
        decoder.decode_text(b"")
    if pending:
        yield pending


def _shuffled(hashes: Numbers, unterminated: Sequence[int]) -> NDArray[np.int64]:
    """Return the order of lines, (lines,): identical ones far apart, unterminated ones last."""
    by_hash = np.argsort(hashes, kind="stable")
    is_new = np.concatenate(([True], np.diff(hashes[by_hash]) > 0))[: len(hashes)]
    first = np.maximum.accumulate(np.where(is_new, np.arange(len(hashes)), 0))
    occurrence = np.empty(len(hashes), np.uint64)
    occurrence[by_hash] = np.arange(len(hashes)) - first
    keys = _mix(hashes + _mix(occurrence))
    is_last = np.zeros(len(hashes), bool)
    is_last[list(unterminated)] = True
    return np.lexsort((keys, is_last))


def _mix(values: Numbers) -> Numbers:
    """Return values that look random, one for each (the finalizer of splitmix64)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Numbers = values ^ (values >> np.uint64(31))
    return mixed
