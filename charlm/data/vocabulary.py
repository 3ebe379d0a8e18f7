"""Vocabulary: the tokens of a text, their ids, and the cost of an unknown token."""

import math
from collections.abc import Callable
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from charlm.results.text import UNICODE_CODE_POINTS, check_code_points

REPLACEMENT_CHARACTER = 0xFFFD  # neither a letter nor white space
TokenIds = NDArray[np.integer]
VocabularyKind = Literal["chars", "bytes"]


class Vocabulary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`vocabulary.json`: the tokens of the training split; the id of a token is its index.

    Kind "chars": tokens are Unicode code points in order of first appearance. One more id, the
    unknown token, stands for every character that is not in the training split.
    Kind "bytes": tokens are the 256 bytes. There is no unknown token.
    """

    kind: VocabularyKind  # what a token is: a character or a byte
    tokens: tuple[int, ...]  # code point or byte of each id

    def __post_init__(self) -> None:
        """Validate the tokens, since a run may come from another person."""
        if self.kind == "bytes" and self.tokens != tuple(range(256)):
            raise ValueError("a vocabulary of bytes has the tokens 0 to 255")
        check_code_points(self.tokens)

    @property
    def unk_id(self) -> int | None:
        """Id of the unknown token; None for bytes."""
        return len(self.tokens) if self.kind == "chars" else None

    @property
    def size(self) -> int:
        """Number of ids that a model predicts, the unknown token included."""
        return len(self.tokens) + (self.kind == "chars")

    @property
    def unk_cost_nats(self) -> float:
        """Nats to name an unknown character after the unknown token: uniform over Unicode.

        With this cost the code stays decodable and bits per character is a true code length.
        """
        return math.log(UNICODE_CODE_POINTS)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, (length,). Unknown characters get the unknown token."""
        if self.kind == "bytes":
            return list(text.encode("utf-8", "surrogateescape"))
        id_of = {token: index for index, token in enumerate(self.tokens)}
        return [id_of.get(ord(character), len(self.tokens)) for character in text]

    def find_unknown(self, text: str) -> list[str]:
        """Return the characters of a text that are no tokens, each once, in order."""
        if self.kind == "bytes":
            return []
        tokens = set(self.tokens)
        return [character for character in dict.fromkeys(text) if ord(character) not in tokens]

    def decode(self, ids: TokenIds) -> bytes:
        """Return the UTF-8 bytes of ids, (length,), without an unknown token among them."""
        tokens = np.array(self.tokens, dtype="<u4")[ids]
        if self.kind == "bytes":
            return tokens.astype(np.uint8).tobytes()
        return tokens.tobytes().decode("utf-32-le").encode()


BYTE_VOCABULARY = Vocabulary("bytes", tuple(range(256)))


def ids_to_text(ids: TokenIds, vocabulary: Vocabulary) -> str:
    """Return one character per id.

    The unknown token and bytes outside ASCII become the replacement character.
    """
    tokens = np.array((*vocabulary.tokens, REPLACEMENT_CHARACTER), dtype="<u4")
    if vocabulary.kind == "bytes":
        tokens[128:] = REPLACEMENT_CHARACTER
    return tokens[ids].tobytes().decode("utf-32-le")


def vocabulary_mask(vocabulary: Vocabulary, predicate: Callable[[str], bool]) -> NDArray[np.bool_]:
    """Return for each id whether the predicate holds for its character, (vocabulary size,)."""
    characters = ids_to_text(np.arange(vocabulary.size), vocabulary)
    return np.array([predicate(character) for character in characters])
