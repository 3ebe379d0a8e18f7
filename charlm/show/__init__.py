"""What a person sees: results on stdout, all else on stderr. Only this package draws."""

import codecs
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from charlm.visible import escape_control_characters


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


def print_fields(pairs: Sequence[tuple[str, str]]) -> None:
    """Names and what they are, one a line, on stderr."""
    for name, text in pairs:
        print_message(f"{name:<11} {text}")


def format_duration(seconds: float) -> str:
    """90 -> '1:30'; '1:02:03' from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_count(number: float) -> str:
    """45600 -> '45.6k'."""
    for unit in ("", "k", "M"):
        if number < 999.5:  # which is rounded up to a thousand
            return f"{number:.3g}{unit}" if unit else f"{number:.0f}"
        number /= 1000
    return f"{number:.3g}G"
