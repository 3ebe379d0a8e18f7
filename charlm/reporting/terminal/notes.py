"""Notes on a terminal about characters that a model does not know."""

import unicodedata
from collections.abc import Sequence

from charlm.console import print_message

ESCAPE = "\\x"  # before the two digits of a byte that is not UTF-8
MAX_NAMED = 5  # characters that a note names


def print_unknown(characters: Sequence[str], model: str = "the model") -> None:
    """Print a note that names characters which the vocabulary does not have.

    Args:
        characters: Unknown characters, each once.
        model: Name of the model.
    """
    if not characters:
        return
    named = ", ".join(map(describe_character, characters[:MAX_NAMED]))
    more = f" and {len(characters) - MAX_NAMED} more" if len(characters) > MAX_NAMED else ""
    print_message(f"note: {model} does not know {named}{more}: it reads the unknown token")


def describe_character(character: str) -> str:
    r"""Return a character with its code point, such as `é (U+00E9)`; a control with its name.

    A byte that is not UTF-8, which is a lone surrogate (PEP 383) or written \xNN, is `byte 0xFF`.
    """
    if "\udc80" <= character <= "\udcff":
        return f"byte 0x{ord(character) - 0xDC00:02X}"
    if len(character) > 1:
        return f"byte 0x{character.removeprefix(ESCAPE).upper()}"
    code = f"U+{ord(character):04X}"
    if character.isprintable() and not character.isspace():
        return f"{character} ({code})"
    name = unicodedata.name(character, "").lower()
    return f"{code} {name}".rstrip()
