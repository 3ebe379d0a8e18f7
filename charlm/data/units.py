"""Units of a text: the parts of it that are resampled for an interval.

Costs within a unit depend on each other; different units are taken as independent. Files are the
natural units. Lines are grouped. A single text is cut into contiguous blocks, and as neighboring
blocks are dependent, a long text has long blocks, not many.
"""

from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charlm.data.encoded_text import EncodedText
from charlm.data.readers import CHUNK_BYTES
from charlm.results.text import UnitKind

MAX_BLOCKS = 50
MIN_BLOCK_LENGTH = 1000  # tokens
MIN_FILES = 20  # fewer are too few to resample
MAX_FILE_UNITS = 1000  # more files are grouped
NEWLINE = 0x0A
Edges = NDArray[np.int64]


class Units(NamedTuple):
    """Units of a text."""

    kind: UnitKind
    edges: Edges  # (units + 1,): index of the first token of each unit, then the length


def block_edges(length: int) -> Edges:
    """Return the edges of the blocks of a text, (blocks + 1,); lengths differ by at most one."""
    blocks = max(1, min(length // MIN_BLOCK_LENGTH, MAX_BLOCKS))
    return np.arange(blocks + 1, dtype=np.int64) * length // blocks


def text_units(encoding: EncodedText, span: tuple[int, int], by_line: bool = False) -> Units:
    """Return the units of a span of a text: files if there are enough, lines, or blocks.

    Args:
        encoding: Encoded text.
        span: First token and one past the last.
        by_line: Whether the lines of the text are independent items.
    """
    start, end = span
    if by_line:
        return Units("line", _line_edges(encoding, start, end))
    lengths = (length for part in encoding.metadata.sources for length in part)
    edges = np.array(list(accumulate(lengths, initial=0)), dtype=np.int64)
    edges = np.unique(np.clip(edges, start, end)) - start
    files = len(edges) - 1
    if files < MIN_FILES:
        return Units("block", block_edges(end - start))
    chosen = np.linspace(0, files, min(files, MAX_FILE_UNITS) + 1).astype(int)
    return Units("file", edges[chosen])


def _line_edges(encoding: EncodedText, start: int, end: int) -> Edges:
    """Return the edges of blocks, each moved to the next end of a line."""
    length = end - start
    edges = block_edges(length)
    tokens = np.array(encoding.metadata.tokens)
    (newline,) = np.flatnonzero(tokens == NEWLINE) if NEWLINE in tokens else (-1,)
    chunks = encoding.iter_chunks(start, end)
    offsets = range(1, length + 1, CHUNK_BYTES)  # of what follows the first token of each chunk
    ends = [
        np.flatnonzero(ids == newline) + offset for ids, offset in zip(chunks, offsets, strict=True)
    ]
    line_ends = np.concatenate((*ends, [length]))
    moved = line_ends[np.searchsorted(line_ends, edges[1:])]
    return np.unique(np.concatenate(([0], moved))).astype(np.int64)
