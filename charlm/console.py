"""Console output: results on stdout, messages on stderr, control characters escaped."""

import codecs
import json
import os
import re
import shlex
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from charlm.storage.paths import path_word

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


def print_message(line: str, *, indent: int = 2, verbatim: bool = False) -> None:
    """Print a line on stderr, unless messages are not wanted; the options are of `print_error`."""
    if not is_quiet():
        print_error(line, indent=indent, verbatim=verbatim)


@contextmanager
def clear_before_lines(clear: Callable[[], object]) -> Iterator[None]:
    """Call a function before each line on stderr, such as one that erases a progress bar."""
    _clear_bar.append(clear)
    try:
        yield
    finally:
        _clear_bar.remove(clear)


def print_error(line: str, *, indent: int = 2, verbatim: bool = False) -> None:
    """Print a line on stderr, folded on a terminal that is narrower.

    Args:
        line: Text.
        indent: Spaces before the lines that follow the first one.
        verbatim: Whether the line is never folded, such as a command that will be copied.
    """
    width = 0 if verbatim else terminal_columns(sys.stderr)
    with suppress(OSError):  # a closed stderr must not stop training
        for clear in _clear_bar:
            clear()
        shown = fold(escape_control_characters(line), width, " " * indent)
        print("\n".join(shown), file=sys.stderr, flush=True)  # noqa: T201


def print_result(text: str, *, verbatim: bool = False) -> None:
    """Print the result of a command on stdout, its lines folded on a terminal that is narrower.

    Args:
        text: One line or several.
        verbatim: Whether lines are never folded, such as code.
    """
    width = 0 if verbatim else terminal_columns(sys.stdout)
    lines = escape_control_characters(text, keep="\n\t").split("\n")
    folded = [part for line in lines for part in fold(line, width, "  ")]
    print("\n".join(folded), flush=True)  # noqa: T201


def terminal_columns(stream: TextIO) -> int:
    """Return the columns of the terminal that a stream writes to; 0 if it is none."""
    if not stream.isatty():
        return 0
    with suppress(KeyError, ValueError):
        return int(os.environ["COLUMNS"])
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return 80


def fold(line: str, width: int, indent: str = "") -> list[str]:
    """Return a line in parts that are not wider: between words, and long paths between their parts.

    What is wider than a line by itself stays whole.

    Args:
        line: Text without line breaks.
        width: Columns; 0: without a limit.
        indent: Start of the parts after the first.
    """
    if not width or text_columns(line) <= width:
        return [line]
    folded, part = [], ""
    for word in re.findall(r"\s*\S+", line):
        is_long = text_columns(word.strip()) > width - len(indent)
        for piece in re.findall(r"\s*[^/]*/|\s*[^/]+", word) if is_long else [word]:
            if part.strip() and text_columns(part + piece) > width:
                folded.append(part)
                part = indent + piece.lstrip()
            else:
                part += piece
    return [*folded, part]


def text_columns(text: str) -> int:
    """Return how many columns of a terminal a text takes: two per wide character."""
    return sum(_character_columns(character) for character in text)


def _character_columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def print_json(value: Any) -> None:
    """Print a result as JSON on one line of stdout."""
    print(json.dumps(value, sort_keys=True), flush=True)  # noqa: T201 (pure ASCII: safe to show)


def shell_command(words: Iterable[str | Path]) -> str:
    r"""Return a command line that can be pasted into a shell.

    Control characters, and bytes of file names that are not UTF-8, are written as in `$'\xff'`,
    which bash, zsh and ksh read. A `Path` is never an option, see `path_word`.
    """
    plain = (path_word(word) if isinstance(word, Path) else word for word in words)
    return " ".join(map(_shell_word, plain))


def _shell_word(word: str) -> str:
    if not CONTROL_CHARACTERS.search(word):
        return shlex.quote(word)
    plain = {code: chr(code) for code in range(32, 127) if chr(code) not in "'\\"}
    return f"$'{''.join(plain.get(byte, f'{chr(92)}x{byte:02x}') for byte in os.fsencode(word))}'"


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
