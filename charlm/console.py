"""Foreign text made safe to show: no character that a terminal would obey gets through."""

import codecs
import json
import re
import sys
from contextlib import suppress
from typing import Any

# C0 and C1 controls, DEL, soft hyphen, bidirectional and zero-width formatting, line and paragraph
# separators, byte order mark, interlinear annotations, lone surrogates, tag characters.
CONTROL_CHARACTERS = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def escape_control_characters(text: str, keep: str = "") -> str:
    """The text with every control character but those in `keep` written out, as in \\x1b."""
    return CONTROL_CHARACTERS.sub(
        lambda found: found[0] if found[0] in keep else found[0].encode("unicode_escape").decode(),
        text,
    )


def print_message(line: str) -> None:
    """One line to the person, on stderr; whatever foreign text is in it is made safe."""
    with suppress(OSError):  # that nobody reads it any more stops no training
        print(escape_control_characters(line), file=sys.stderr, flush=True)  # noqa: T201


def print_result(text: str) -> None:
    """The result of a command, on stdout."""
    print(escape_control_characters(text, keep="\n\t"), flush=True)  # noqa: T201


def print_json(value: Any) -> None:
    """The result of a command for programs: one JSON object on one line."""
    print(json.dumps(value, sort_keys=True), flush=True)  # noqa: T201 (pure ASCII: safe to show)


class StreamWriter:
    """Text that a model writes, as it comes: exact bytes into a pipe, made safe on a terminal."""

    def __init__(self) -> None:
        self.terminal = sys.stdout.isatty()
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, data: bytes) -> None:
        if self.terminal:
            sys.stdout.write(escape_control_characters(self.decoder.decode(data), keep="\n\t"))
        else:
            sys.stdout.buffer.write(data)
        sys.stdout.flush()
