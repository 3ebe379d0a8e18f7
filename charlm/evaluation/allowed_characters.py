"""Sets of characters in the notation of `tr`: single characters, ranges, classes, escapes."""

import unicodedata
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from charlm.data.vocabulary import Vocabulary
from charlm.errors import ConfigError, InvalidValueError

ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
MAX_NAMED = 5  # characters that an error names


def _is_punctuation(character: str) -> bool:
    """Return whether a character is punctuation or a symbol, as in C's `ispunct`."""
    return unicodedata.category(character)[0] in "PS"


CLASSES: dict[str, Callable[[str], bool]] = {
    "alpha": str.isalpha,
    "digit": str.isdecimal,
    "alnum": str.isalnum,
    "lower": str.islower,
    "upper": str.isupper,
    "space": str.isspace,
    "punct": _is_punctuation,
}


def allowed_mask(vocabulary: Vocabulary, allow: str | None) -> NDArray[np.bool_]:
    r"""Return which tokens may be generated, (vocabulary size,); never the unknown token.

    Args:
        vocabulary: Vocabulary of the model; of bytes, only those of ASCII can be named.
        allow: Characters, ranges such as `a-z`, classes such as `[:alpha:]`, and the escapes `\n`,
            `\r`, `\t`, `\\`, `\-`; None: all.

    Raises:
        InvalidValueError: The notation is wrong.
        ConfigError: The model cannot write such a character.
    """
    mask = np.zeros(vocabulary.size, bool)
    if allow is None:
        mask[: len(vocabulary.tokens)] = True
        return mask
    last = 0x7F if vocabulary.kind == "bytes" else 0x10FFFF
    id_of = {token: index for index, token in enumerate(vocabulary.tokens) if token <= last}
    unknown: list[str] = []
    for first, end, is_member in _parse(allow):
        if is_member is not None:
            mask[[index for token, index in id_of.items() if is_member(chr(token))]] = True
        elif first == end and ord(first) not in id_of:
            unknown.append(first)
        else:
            inside = (index for token, index in id_of.items() if first <= chr(token) <= end)
            mask[list(inside)] = True
    if unknown:
        reason = "the model does not know"
        if vocabulary.kind == "bytes":
            reason = "a model of bytes writes outside of ASCII in several tokens:"
        raise ConfigError(f"cannot --allow {allow!r}: {reason} {name_characters(unknown)}")
    if not mask.any():
        raise ConfigError(
            f"cannot --allow {allow!r}: the model knows no such character. Try --allow 'a-z \\n'"
        )
    return mask


def name_characters(characters: list[str]) -> str:
    """Return characters with their code points, the first few of them."""
    named = ", ".join(f"{c!r} (U+{ord(c):04X})" for c in characters[:MAX_NAMED])
    more = len(characters) - MAX_NAMED
    return named + (f" and {more} more" if more > 0 else "")


def _parse(allow: str) -> list[tuple[str, str, Callable[[str], bool] | None]]:
    """Return ranges, first and last character, and classes, as predicates."""
    parts: list[tuple[str, str, Callable[[str], bool] | None]] = []
    at = 0
    while at < len(allow):
        if allow.startswith("[:", at) and (end := allow.find(":]", at)) >= 0:
            name = allow[at + 2 : end]
            if name not in CLASSES:
                known = ", ".join(f"[:{known}:]" for known in CLASSES)
                raise InvalidValueError(
                    f"cannot --allow [:{name}:]: no such class. Try one of {known}"
                )
            parts.append(("", "", CLASSES[name]))
            at = end + 2
            continue
        first, at = _character(allow, at)
        last = first
        if allow[at : at + 1] == "-" and at + 1 < len(allow):
            last, at = _character(allow, at + 1)
            if last < first:
                raise InvalidValueError(
                    f"cannot --allow {first}-{last}: the range is reversed. Try {last}-{first}"
                )
        parts.append((first, last, None))
    return parts


def _character(allow: str, at: int) -> tuple[str, int]:
    """Return the character that is written at an index, and the index behind it."""
    if allow[at] != "\\":
        return allow[at], at + 1
    escaped = allow[at + 1 : at + 2]
    if not escaped or (escaped.isalnum() and escaped not in ESCAPES):
        raise InvalidValueError(
            f"cannot --allow \\{escaped}: no such escape. Try \\n, \\r, \\t, \\\\, \\- or a class "
            "such as [:digit:]"
        )
    return ESCAPES.get(escaped, escaped), at + 2
