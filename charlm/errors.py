"""Exceptions of charlm: one class per exit code, with a message of one line."""

from typing import NamedTuple


class CharlmError(Exception):
    """An error that the user can fix. The message names cause and remedy in one line."""

    code = 70  # exit code


class UsageError(CharlmError):
    """An option that the command does not have, or a value that an option does not accept."""

    code = 2


class DataError(CharlmError):
    """A text or a run that is damaged or cannot be used."""

    code = 65


class InputNotFoundError(CharlmError):
    """An input that does not exist or cannot be read."""

    code = 66


class ClusterError(CharlmError):
    """A Ray cluster that does not answer, or is lost."""

    code = 69


class OutputExistsError(CharlmError):
    """An output that exists already and would be overwritten."""

    code = 73


class StorageError(CharlmError):
    """A disk that is full or failed."""

    code = 74


class LockedError(CharlmError):
    """A directory that another process is writing."""

    code = 75


class DivergedError(CharlmError):
    """A loss or gradient that is no longer finite."""

    code = 76


class ConfigError(CharlmError):
    """Settings that contradict each other, the run, or this machine."""

    code = 78


class InvalidValueError(ConfigError):
    """A value that an option does not accept, whatever the other settings are."""

    code = UsageError.code


class InsufficientMemoryError(CharlmError):
    """A model that needs more memory than there is."""

    code = 79


class CellCheckError(CharlmError):
    """A cell that fails a conformance check."""

    code = 80


class Interrupted(BaseException):
    """SIGINT, SIGTERM or SIGHUP. It is no Exception, so that no library swallows it."""

    def __init__(self, signal: int, text: str = "interrupted") -> None:
        """Create it for a signal, whose number plus 128 is the exit code."""
        super().__init__(text)
        self.signal = signal


class ExitCode(NamedTuple):
    """Meaning of an exit code."""

    name: str  # in the error object of --json
    meaning: str


EXIT_CODES = {  # shown by charlm exit-codes
    0: ExitCode("done", "done"),
    2: ExitCode("usage", "usage: an unknown option, or a value that the option does not accept"),
    65: ExitCode("bad-data", "bad data: a text or a run that is damaged or cannot be used"),
    66: ExitCode("missing-input", "an input is missing or cannot be read"),
    69: ExitCode("cluster", "a Ray cluster does not answer, or is lost"),
    70: ExitCode("bug", "a bug in charlm"),
    73: ExitCode("output-exists", "the output exists already"),
    74: ExitCode("storage", "the disk is full or failed"),
    75: ExitCode("locked", "another process is writing this directory"),
    76: ExitCode("diverged", "the loss is no longer finite"),
    78: ExitCode("settings", "settings contradict each other, the run, or this machine"),
    79: ExitCode("memory", "not enough memory"),
    80: ExitCode("cell-check", "a cell fails a conformance check"),
    129: ExitCode(
        "hangup", "the terminal was closed (SIGHUP), after saving what there was to save"
    ),
    130: ExitCode("interrupted", "interrupted (SIGINT), after saving what there was to save"),
    141: ExitCode("pipe", "the reader of the output is gone"),
    143: ExitCode("terminated", "terminated (SIGTERM), after saving what there was to save"),
}
