"""Handling of SIGINT and SIGTERM: raise an exception, or finish and save first."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from charlm.errors import Interrupted

logger = logging.getLogger("charlm")

received_signals: list[int] = []  # signals that were raised as exceptions


def raise_interrupted(number: int, _: FrameType | None) -> NoReturn:
    """Raise a signal as an exception: the handler while nothing has to be finished."""
    received_signals.append(number)
    raise Interrupted(number)


def raise_pending() -> None:
    """Raise a received signal again, in case a library that was being imported swallowed it."""
    if received_signals:
        raise Interrupted(received_signals[0])


@contextmanager
def defer_signals(message: str) -> Iterator[list[int]]:
    """Record the first signal so that the block can finish and save; exit at the second.

    Args:
        message: What the block does after a signal; empty to log nothing.

    Yields:
        The list of received signals, empty until there is one.
    """
    received: list[int] = []

    def record(number: int, _: FrameType | None) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)
        if message:
            logger.warning("%s; once more to leave at once", message)

    previous = [
        (number, signal.signal(number, record)) for number in (signal.SIGINT, signal.SIGTERM)
    ]
    try:
        yield received
    finally:
        for number, handler in previous:
            signal.signal(number, handler)
