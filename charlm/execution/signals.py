"""Handling of SIGINT, SIGTERM and SIGHUP: raise an exception, or finish and save first."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from charlm.errors import Interrupted

logger = logging.getLogger("charlm")

received_signals: list[int] = []  # signals that were raised as exceptions
# How the second signal ends this process. The command line sets it to `os._exit`; without it an
# exception is raised, since a program or a notebook must go on.
exit_process: Callable[[int], object] | None = None


def stop_signals() -> list[signal.Signals]:
    """Return the signals that tell this process to stop.

    SIGHUP, of a terminal that is closed, stays ignored if nohup has told so.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


def handle_stop_signals() -> None:
    """Raise the signals that tell this process to stop as exceptions from now on."""
    for number in stop_signals():
        signal.signal(number, raise_interrupted)


def raise_interrupted(number: int, _: FrameType | None) -> None:
    """Raise a signal as an exception: the handler while nothing has to be finished.

    A terminal that is closed sends SIGHUP more than once, from the kernel and from the shell. Only
    the first one counts, so that nothing interrupts the message of its error.
    """
    if number == signal.SIGHUP and received_signals:
        return
    received_signals.append(number)
    raise Interrupted(number)


def raise_pending() -> None:
    """Raise a received signal again, in case a library that was being imported swallowed it."""
    if received_signals:
        raise Interrupted(received_signals[0])


@contextmanager
def defer_signals(message: str) -> Iterator[list[int]]:
    """Record the first signal so that the block can finish and save; leave it at the second.

    SIGHUP never counts as the second one, nor as the first of two. A terminal that is closed sends
    several, and the end of a session sends SIGTERM beside it. Nobody is there to ask for haste.
    Outside of the main thread, which alone receives signals, this does nothing.

    Args:
        message: What the block does after a signal; empty to log nothing.

    Yields:
        The list of received signals, empty until there is one.

    Raises:
        Interrupted: A second signal came, and `exit_process` is not set.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    previous: list[tuple[int, Any]] = []

    def restore() -> None:
        for number, handler in previous:
            signal.signal(number, handler)

    def record(number: int, _: FrameType | None) -> None:
        if number != signal.SIGHUP and set(received) - {signal.SIGHUP}:
            if exit_process is not None:
                exit_process(128 + number)
            restore()
            raise Interrupted(number)
        received.append(number)
        if message and len(received) == 1:
            logger.warning("%s; press again to quit immediately", message)

    try:
        for number in stop_signals():
            previous.append((number, signal.signal(number, record)))
        yield received
    finally:
        restore()
