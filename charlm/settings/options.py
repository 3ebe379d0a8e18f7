"""Annotations that make a field of the configuration a command-line option."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

TEXT, MODEL, TRAINING, MACHINE = "Text", "Model", "Training", "Machine"
Word = Annotated[str, Meta(max_length=100)]
Name = Annotated[str, Meta(max_length=4096)]  # path, pattern or list
PositiveInt = Annotated[int, Meta(ge=1, le=2**20)]


class OptionMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """Command-line option of a field."""

    panel: str  # heading in --help
    help: str
    aliases: tuple[str, ...] = ()  # further spellings
    metavar: str = ""  # empty: derived from the type
    can_change: bool = False  # whether a resumed run may have another value
    default: str = ""  # text that --help shows; empty: the default of the field
    words: dict[str, int] = {}  # words that stand for numbers


def option(
    panel: str,
    text: str,
    *aliases: str,
    metavar: str = "",
    can_change: bool = False,
    default: str = "",
    words: Mapping[str, int] = {},
) -> Meta:
    """Return the annotation that makes a field an option."""
    metadata = OptionMetadata(
        panel=panel,
        help=text,
        aliases=aliases,
        metavar=metavar,
        can_change=can_change,
        default=default,
        words=dict(words),
    )
    return Meta(description=text, extra={"option": metadata})
