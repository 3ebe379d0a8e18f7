"""Console output: results on stdout, messages on stderr, control characters escaped."""

import codecs
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

# C0 and C1 controls, DEL, soft hyphen, bidirectional and zero-width formatting, line and paragraph
# separators, byte order mark, interlinear annotations, lone surrogates, tag characters.
CONTROL_CHARACTERS = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


_settings = {"quiet": False}  # of this process
_clear_bar: list[Callable[[], object]] = []  # of the progress bar that is shown, if there is one


def set_quiet(is_quiet: bool) -> None:
    """Print results and errors only, or messages as well."""
    _settings["quiet"] = is_quiet


def is_quiet() -> bool:
    """Return whether messages and progress are not shown."""
    return _settings["quiet"]


def escape_control_characters(text: str, keep: str = "") -> str:
    """Return the text with control characters written out as escape sequences.

    Args:
        text: Text that may come from anybody.
        keep: Control characters to leave as they are.
    """

    def escape(match: re.Match[str]) -> str:
        return match[0] if match[0] in keep else match[0].encode("unicode_escape").decode()

    return CONTROL_CHARACTERS.sub(escape, text)


def print_message(line: str) -> None:
    """Print a line on stderr, unless messages are not wanted."""
    if not is_quiet():
        print_error(line)


@contextmanager
def clear_before_lines(clear: Callable[[], object]) -> Iterator[None]:
    """Call a function before each line on stderr, such as one that erases a progress bar."""
    _clear_bar.append(clear)
    try:
        yield
    finally:
        _clear_bar.remove(clear)


def print_error(line: str) -> None:
    """Print a line on stderr."""
    with suppress(OSError):  # a closed stderr must not stop training
        for clear in _clear_bar:
            clear()
        print(escape_control_characters(line), file=sys.stderr, flush=True)  # noqa: T201


def print_result(text: str) -> None:
    """Print the result of a command on stdout."""
    print(escape_control_characters(text, keep="\n\t"), flush=True)  # noqa: T201


def print_json(value: Any) -> None:
    """Print a result as JSON on one line of stdout."""
    print(json.dumps(value, sort_keys=True), flush=True)  # noqa: T201 (pure ASCII: safe to show)


class StreamWriter:
    """Writer of generated text on stdout: exact bytes into a pipe, escaped on a terminal."""

    def __init__(self) -> None:
        """Find out whether stdout is a terminal."""
        self.terminal = sys.stdout.isatty()
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, data: bytes) -> None:
        """Write bytes at once."""
        if self.terminal:
            sys.stdout.write(escape_control_characters(self.decoder.decode(data), keep="\n\t"))
        else:
            sys.stdout.buffer.write(data)
        sys.stdout.flush()
