"""SIGINT and SIGTERM: an error like others, or a note to finish what must not be left half done."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from charlm import console
from charlm.errors import Interrupted

received_signals: list[int] = []  # signals that were raised as errors


def raise_interrupted(number: int, _: FrameType | None) -> NoReturn:
    """The handler while nothing needs to be finished."""
    received_signals.append(number)
    raise Interrupted(number)


def raise_pending() -> None:
    """Raises again a signal that somebody has swallowed: what loads libraries runs others' code."""
    if received_signals:
        raise Interrupted(received_signals[0])


@contextmanager
def defer_signals(doing: str) -> Iterator[list[int]]:
    """The first signal is only noted, for the block to finish and save; the second leaves.

    doing: what is said of it; nothing, if it is empty.
    """
    signalled: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if signalled:
            os._exit(128 + number)
        signalled.append(number)
        if doing:
            console.print_message(f"{doing}; once more to leave at once")

    before = [(number, signal.signal(number, note)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield signalled
    finally:
        for number, handler in before:
            signal.signal(number, handler)
