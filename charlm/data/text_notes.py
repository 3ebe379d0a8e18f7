"""Notes on a text that say what its scores mean: copies, unlike splits, lines that are items.

They are computed once for a text and its splits, and cached.
"""

import bz2
import hashlib
import math
import random
from collections.abc import Sequence
from itertools import islice, pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from charlm.data.cache import write_private
from charlm.data.corpus import Corpus
from charlm.data.encoded_text import EncodedText
from charlm.data.stored_ids import StoredIds
from charlm.data.vocabulary import TokenIds
from charlm.errors import DataError
from charlm.results.text import SourceOddity, TextNote, TextNotes
from charlm.storage.json_files import read_sealed_json, seal_json
from charlm.storage.private_cache import open_private_cache

CACHE_VERSION = 3
VERBATIM_LENGTH = 32  # tokens of a match; a power of two
# Of the test split: python-docs has 0.36, python-source 0.24, and the beginnings of its files 0.27.
MIN_VERBATIM_SHARE = 0.2
MAX_TOKENS = 1 << 26  # of train and test together, for which copies are looked for: seconds
TABLE_BITS = 23  # of a hash: a table of 8 MB tells most others apart
CHUNK = 1 << 17  # tokens whose hashes stay in the CPU cache
MULTIPLIER = 0x9E3779B97F4A7C15  # odd
# Bits per character by which the frequencies of train may miss those of test. Measured:
# python-source by file 0.01 to 0.03, by position 0.06, Shakespeare 0.02, python-docs 0.15.
MAX_FREQUENCY_LOSS = 0.1
# Lines are items if their order says nothing: shuffled, they take at most this much more space.
# Measured: names and single sentences 1.0015 at most, verse, prose and code 1.006 at least.
MAX_ORDER_GAIN = 1.003
MAX_ITEM_LENGTH = 64  # mean bytes of a line
COMPARED: tuple[SourceOddity, ...] = ("bom", "crlf", "cr")  # of a text with that of a run
MAX_UNSEEN = 8  # characters that are named
MIN_ITEMS, MAX_ITEM_BYTES = 200, 1 << 18  # that are looked at
Hashes = NDArray[np.uint64]
Mask = NDArray[np.bool_]


def inspect_text(corpus: Corpus) -> tuple[TextNote, ...]:
    """Return the notes on a corpus: oddities of its sources, then what its splits share.

    Raises:
        StorageError: The cache cannot be read or written.
    """
    identity = (CACHE_VERSION, corpus.record, corpus.vocabulary)
    key = hashlib.sha256(msgspec.json.encode(identity)).hexdigest()
    with open_private_cache() as cache:
        path = cache / f"{key[:32]}.json"
        try:
            cached = read_sealed_json(path, TextNotes).notes
        except DataError:
            cached = tuple(_measure(corpus))
            write_private(path, seal_json(TextNotes(cached)))
    return (*corpus.record.notes, *cached)


def compare_with_run(
    encoding: EncodedText, notes: Sequence[TextNote], known: Sequence[TextNote], name: str
) -> tuple[TextNote, ...]:
    """Return what is odd about a text that a run scores, in comparison with the text of the run.

    Args:
        encoding: Text, in the vocabulary of the run.
        notes: Oddities of the text.
        known: Oddities of the text of the run.
        name: Name of the text, for messages.
    """
    kinds, known_kinds = {note.kind for note in notes}, {note.kind for note in known}
    compared = [
        msgspec.structs.replace(note, compared="added") if note.kind in COMPARED else note
        for note in notes
        if note.kind not in known_kinds
    ]
    compared += [
        TextNote(kind, name, compared="lacking") for kind in COMPARED if kind in known_kinds - kinds
    ]
    unseen = encoding.unknown_characters()
    if unseen:
        characters = "".join(list(unseen)[:MAX_UNSEEN])
        total = sum(unseen.values())
        note = TextNote("unseen", name, value=total, reference=encoding.size, characters=characters)
        compared.append(note)
    return tuple(compared)


def verbatim_mask(
    train: TokenIds | StoredIds, text: TokenIds, length: int = VERBATIM_LENGTH
) -> Mask:
    """Return which tokens of a text are in a match with train of at least `length`, (text,).

    Windows are compared by hashes of 64 bits.

    Args:
        train: Ids that are searched, (train length,).
        text: Ids, (text length,).
        length: Shortest match; a power of two.
    """
    hashes = _window_hashes(text, length)
    wanted = np.unique(hashes)
    if not len(wanted):
        return np.zeros(len(text), bool)
    shift = np.uint64(64 - TABLE_BITS)
    table = np.zeros(1 << TABLE_BITS, bool)
    table[wanted >> shift] = True
    is_found = np.zeros(len(wanted), bool)
    for start in range(0, len(train), CHUNK):
        candidates = _window_hashes(train[start : start + CHUNK + length - 1], length)
        candidates = candidates[table[candidates >> shift]]
        index = np.minimum(np.searchsorted(wanted, candidates), len(wanted) - 1)
        is_found[index[wanted[index] == candidates]] = True
    starts = np.flatnonzero(is_found[np.searchsorted(wanted, hashes)])
    covering = np.zeros(len(text) + 1, np.int64)
    covering[starts] += 1
    covering[starts + length] -= 1
    mask: Mask = np.cumsum(covering)[:-1] > 0
    return mask


def unigram_costs(
    train: TokenIds | StoredIds, text: TokenIds | StoredIds, vocabulary_size: int
) -> tuple[float, float]:
    """Return bits per token of a text by the frequencies of train, and by its own."""
    counts, own = (token_counts(ids, vocabulary_size) for ids in (train, text))
    counts += 0.5  # nothing is impossible
    shares = own[own > 0] / len(text)
    by_train = -float(shares @ np.log2(counts[own > 0] / counts.sum()))
    return by_train, -float(shares @ np.log2(shares))


def token_counts(ids: TokenIds | StoredIds, vocabulary_size: int) -> NDArray[np.float64]:
    """Return how often each token occurs, (vocabulary,)."""
    counts = np.zeros(vocabulary_size)
    for start in range(0, len(ids), CHUNK):
        counts += np.bincount(ids[start : start + CHUNK], minlength=vocabulary_size)
    return counts


def are_lines_items(text: bytes) -> bool:
    """Return whether the lines of a text are short and independent of each other, as in a list."""
    lines = text.splitlines(keepends=True)[:-1]
    is_list = len(lines) >= MIN_ITEMS and len(text) <= MAX_ITEM_LENGTH * len(lines)
    if not is_list or sum(not line.strip() for line in lines) > 0.01 * len(lines):
        return False
    if sum(first <= second for first, second in pairwise(lines)) > 0.95 * len(lines):
        return True  # sorted
    shuffled = random.Random(0).sample(lines, len(lines))
    ordered_size, shuffled_size = (
        len(bz2.compress(b"".join(order))) for order in (lines, shuffled)
    )
    return shuffled_size <= MAX_ORDER_GAIN * ordered_size


def _measure(corpus: Corpus) -> list[TextNote]:
    train, test = corpus.stored_split("train"), corpus.stored_split("test")
    notes: list[TextNote] = []
    if len(train) + len(test) > MAX_TOKENS:
        notes.append(TextNote("verbatim_unmeasured"))
    else:
        share = float(verbatim_mask(train, test[:]).mean())
        if share >= MIN_VERBATIM_SHARE:
            notes.append(TextNote("verbatim", value=share))
    by_train, by_itself = unigram_costs(train, test, corpus.vocabulary.size)
    different = np.count_nonzero(token_counts(test, corpus.vocabulary.size))
    by_chance = (different - 1) / (2 * math.log(2) * len(test))  # Miller (1955)
    if by_train - by_itself - by_chance > MAX_FREQUENCY_LOSS:
        notes.append(TextNote("unlike_train", value=by_train, reference=by_itself))
    start, end = corpus.record.splits["train"]
    end = min(end, start + MAX_ITEM_BYTES)
    pieces = corpus.encoding.iter_bytes(start, end, corpus.vocabulary.kind)
    if corpus.record.split_by == "position" and are_lines_items(b"".join(islice(pieces, 1))):
        notes.append(TextNote("independent_lines"))
    return notes


def _window_hashes(ids: TokenIds, length: int) -> Hashes:
    """Return the hash of each window of ids, (windows,): a polynomial modulo 2^64."""
    hashes = ids.astype(np.uint64) + np.uint64(1)
    hashes *= np.uint64(MULTIPLIER)
    hashes ^= hashes >> np.uint64(29)  # tokens are no longer small numbers
    width, multiplier = 1, MULTIPLIER
    while width < length:
        longer = hashes[:-width] * np.uint64(multiplier)
        longer += hashes[width:]
        hashes = longer
        multiplier = multiplier * multiplier % 2**64
        width *= 2
    hashes ^= hashes >> np.uint64(32)
    hashes *= np.uint64(MULTIPLIER)  # its high bits, which the table takes, depend on all tokens
    return hashes if len(ids) >= length else hashes[:0]
