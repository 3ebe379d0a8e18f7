"""Loop of `charlm sample --interactive`: lines and commands in, continuations out."""

import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TextIO

from charlm import console
from charlm.cli.values import standard_input
from charlm.errors import CharlmError, Interrupted, UsageError
from charlm.evaluation.session import WritingSession
from charlm.execution.signals import defer_signals
from charlm.reporting.terminal.notes import print_unknown
from charlm.reporting.terminal.samples import print_session_help, print_session_start


def run_session(session: WritingSession) -> None:
    """Read lines until the end of input, and write how the model goes on with each.

    Raises:
        Interrupted: SIGINT while no text is being written, SIGTERM or SIGHUP.
    """
    lines = _lines(standard_input())
    print_session_start()
    for line in lines:
        try:
            if line.startswith("/") and not line.startswith("//"):
                _run_command(session, line)
            else:
                _write_turn(session, line.removeprefix("/"))
        except CharlmError as error:
            console.print_error(f"charlm: {error}")


def _lines(stdin: TextIO) -> Iterator[str]:
    """Yield the lines of standard input; on a terminal with a prompt, and with readline."""
    if hasattr(stdin, "reconfigure"):
        stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    if not (stdin.isatty() and sys.stdout.isatty()):
        for line in stdin:
            yield line.removesuffix("\n")
        return
    with suppress(ImportError):
        import readline  # noqa: F401  (input() uses it once it is imported)
    with suppress(EOFError):
        while True:
            yield input("> ")
    sys.stdout.write("\n")  # behind the prompt


def _run_command(session: WritingSession, line: str) -> None:
    """Run a command of the session.

    Raises:
        UsageError: There is no such command, or its value is no number.
        ConfigError: Its value is out of range.
    """
    name, _, value = line.strip().partition(" ")
    try:
        if name == "/length":
            session.change(length=int(value))
        elif name == "/temperature":
            session.change(temperature=float(value))
        elif name == "/reset":
            session.reset()
        elif name == "/help":
            print_session_help(session.length, session.settings.temperature)
        else:
            raise UsageError(f"no such command: {name}. Try /help; // begins a text with a slash")
    except ValueError:
        raise UsageError(f"cannot use {name} {value}: it must be a number. Try /help") from None


def _write_turn(session: WritingSession, text: str) -> None:
    """Write how the model goes on with a text; SIGINT ends the turn, not the session."""
    print_unknown(session.find_unknown(text))
    out = console.StreamWriter()
    with defer_signals("") as received:
        for piece in session.write(text):
            out.write(piece)
            if received:
                break
    out.write(b"\n")
    if received and received[0] != signal.SIGINT:
        raise Interrupted(received[0])
