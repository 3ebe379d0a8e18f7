"""Tests of deferred signals: the first lets the block finish, the second ends it."""

import os
import signal
import threading

import pytest

from charlm.errors import Interrupted
from charlm.execution import signals
from charlm.execution.signals import defer_signals


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_first_signal_lets_the_block_finish() -> None:
    before = handlers()
    with defer_signals("saving") as received:
        signal.raise_signal(signal.SIGTERM)
        finished = True
    assert received == [signal.SIGTERM] and finished and handlers() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_raises_in_a_program(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "_exit", lambda _: pytest.fail("would kill a notebook"))
    before = handlers()
    with pytest.raises(Interrupted) as raised, defer_signals("saving"):
        signal.raise_signal(signal.SIGINT)
        try:
            signal.raise_signal(number)
        finally:
            assert handlers() == before
    assert raised.value.signal == number


def test_second_signal_exits_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(signals, "exit_process", codes.append, raising=False)
    with pytest.raises(Interrupted), defer_signals(""):  # since this exit returns
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert codes == [128 + signal.SIGTERM]


def test_other_threads_defer_nothing() -> None:
    results: list[list[int]] = []

    def run() -> None:
        with defer_signals("saving") as received:
            results.append(received)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert results == [[]]
