"""Ids of a vocabulary: written from ids by first appearance, with the characters outside of it.

The file has the ids, zeros up to a multiple of eight bytes, the positions of all unknown characters
and their code points.
"""

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from charlm.data.cache import private_writer
from charlm.data.encoder import StreamingEncoder
from charlm.data.readers import CHUNK_BYTES
from charlm.data.stored_ids import CacheFile, StoredIds
from charlm.data.vocabulary import Vocabulary
from charlm.errors import DataError
from charlm.results.text import VocabularyRule

POSITIONS_TYPE, CHARACTERS_TYPE = "<u8", "<u4"
Characters = NDArray[np.uint32]


def write_vocabulary_ids(
    raw: StoredIds, encoder: StreamingEncoder, vocabulary: Vocabulary | VocabularyRule, path: Path
) -> tuple[CacheFile, tuple[int, ...], int, int]:
    """Write ids of the vocabulary, then position and code point of each unknown character.

    Args:
        raw: Ids by first appearance.
        encoder: Encoder that wrote them.
        vocabulary: Vocabulary, or the rule that chooses one.
        path: File to write.

    Returns:
        The open file, tokens of the vocabulary, the number of unknown characters, and bytes per id.
    """
    points = np.array(encoder.tokens, dtype=CHARACTERS_TYPE)
    if isinstance(vocabulary, VocabularyRule):
        train_end = int(sum(encoder.sources[0]) * Fraction(vocabulary.train_share))
        frequent = _frequent_tokens(raw.span(0, train_end), points, vocabulary.min_frequency)
        tokens = tuple(dict.fromkeys((*vocabulary.first_tokens, *frequent)))
    else:
        tokens = vocabulary.tokens
    id_bytes = id_width(tokens)
    id_of = {token: index for index, token in enumerate(tokens)}
    final = np.array([id_of.get(point, len(tokens)) for point in points.tolist()], np.int64)
    is_unknown = final == len(tokens)
    unknown = 0
    with private_writer(path) as file:
        for chunk in raw.iter_chunks(CHUNK_BYTES):
            ids = final[chunk]
            unknown += int((ids == len(tokens)).sum())
            file.write(ids.astype(f"<u{id_bytes}").tobytes())
        file.write(bytes(padded(file.size) - file.size))
        for kind in ("position", "character") if unknown else ():
            for start in range(0, len(raw), CHUNK_BYTES):
                chunk = raw[start : start + CHUNK_BYTES]
                positions = np.flatnonzero(is_unknown[chunk])
                if kind == "position":
                    file.write((start + positions).astype(POSITIONS_TYPE).tobytes())
                else:
                    file.write(points[chunk[positions]].tobytes())
        stored = CacheFile(os.dup(file.descriptor), path)
        file.commit()  # which closes it
        return stored, tokens, unknown, id_bytes


def _frequent_tokens(train: StoredIds, points: Characters, min_frequency: float) -> tuple[int, ...]:
    """Return the characters of the training split that are not too rare, as they appear."""
    counts = np.zeros(len(points), np.int64)
    for chunk in train.iter_chunks(CHUNK_BYTES):
        counts += np.bincount(chunk, minlength=len(points))
    is_frequent = (counts > 0) & (counts >= min_frequency * len(train))
    if len(train) and not is_frequent.any():
        raise DataError(
            f"cannot learn from this text: none of its {np.count_nonzero(counts):,} characters "
            f"makes up {min_frequency:g} of the training split. Try a lower --min-char-frequency"
        )
    return tuple(points[is_frequent].tolist())


def id_width(tokens: Sequence[int]) -> int:
    """Return bytes per id of a vocabulary of characters, whose unknown token has an id, too."""
    return next(width for width in (1, 2, 4) if len(tokens) < 256**width)


def padded(num_bytes: int) -> int:
    """Return a multiple of eight that is not less, where aligned numbers can begin."""
    return -(-num_bytes // 8) * 8
