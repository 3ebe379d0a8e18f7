"""Checks of an encoded text from the cache: its record is that of the text, its ids are those."""

import hashlib

import numpy as np

from charlm.data.readers import CHUNK_BYTES
from charlm.data.stored_ids import CacheFile, StoredIds
from charlm.data.vocabulary import BYTE_VOCABULARY, Vocabulary
from charlm.data.vocabulary_ids import CHARACTERS_TYPE, POSITIONS_TYPE, id_width, padded
from charlm.results.text import EncodingMetadata, TextDigest, VocabularyRule


def is_record_of(
    metadata: EncodingMetadata, digest: TextDigest, vocabulary: Vocabulary | VocabularyRule
) -> bool:
    """Return whether a record of the cache is that of this text in this vocabulary."""
    if metadata.digest != digest or len(metadata.sources) != len(digest.parts):
        return False
    lengths = [length for part in metadata.sources for length in part]
    if not 0 <= metadata.unknown <= sum(lengths) <= sum(digest.parts) or any(
        length < 0 for length in lengths
    ):
        return False
    if isinstance(vocabulary, Vocabulary) and metadata.tokens != vocabulary.tokens:
        return False
    if vocabulary == BYTE_VOCABULARY:
        is_whole = tuple(map(sum, metadata.sources)) == digest.parts
        return is_whole and not metadata.unknown and metadata.id_bytes == 1
    if metadata.id_bytes != id_width(metadata.tokens):
        return False
    first = () if isinstance(vocabulary, Vocabulary) else vocabulary.first_tokens
    return metadata.tokens[: len(first)] == first


def is_intact(metadata: EncodingMetadata, file: CacheFile) -> bool:
    """Return whether a file of ids is the one that the record describes, and its numbers fit."""
    size = sum(map(sum, metadata.sources))
    ids = StoredIds(file, 0, f"<u{metadata.id_bytes}", size)
    start = ids.num_bytes if metadata.tokens == BYTE_VOCABULARY.tokens else padded(ids.num_bytes)
    positions = StoredIds(file, start, POSITIONS_TYPE, metadata.unknown)
    end = start + positions.num_bytes + metadata.unknown * np.dtype(CHARACTERS_TYPE).itemsize
    if file.size != end:
        return False
    digest = hashlib.sha256()
    for chunk in ids.iter_chunks(CHUNK_BYTES):
        if chunk.max() > len(metadata.tokens):
            return False
        digest.update(chunk.data)
    for data in file.iter_chunks(ids.num_bytes, end):
        digest.update(data)
    if digest.hexdigest() != metadata.ids_sha256:
        return False
    chunks = positions.iter_chunks(CHUNK_BYTES)
    return all(
        chunk.max() < size and (np.diff(chunk.astype(np.int64)) > 0).all() for chunk in chunks
    )
