"""Notes on a terminal about characters that a model does not know."""

import unicodedata
from collections.abc import Sequence

from charlm.console import print_message

MAX_NAMED = 5  # characters that a note names


def print_unknown(characters: Sequence[str], where: str) -> None:
    """Print a note that names characters which the vocabulary does not have.

    Args:
        characters: Unknown characters, each once.
        where: Text that has them, such as "the prompt".
    """
    if not characters:
        return
    named = ", ".join(map(describe_character, characters[:MAX_NAMED]))
    more = f" and {len(characters) - MAX_NAMED} more" if len(characters) > MAX_NAMED else ""
    print_message(
        f"note: characters of {where} that the model does not know are read as one unknown token: "
        f"{named}{more}"
    )


def describe_character(character: str) -> str:
    """Return a character with its code point, such as `é (U+00E9)`; a control with its name."""
    code = f"U+{ord(character):04X}"
    if character.isprintable() and not character.isspace():
        return f"{character} ({code})"
    name = unicodedata.name(character, "").lower()
    return f"{code} {name}".rstrip()
