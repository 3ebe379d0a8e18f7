"""Exceptions of charlm: one class per exit code, with a message of one line."""


class CharlmError(Exception):
    """An error that the user can fix. The message names cause and remedy in one line."""

    code = 70  # exit code


class UsageError(CharlmError):
    """An option or argument that the command does not have, or of the wrong type."""

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


class InsufficientMemoryError(CharlmError):
    """A model that needs more memory than there is."""

    code = 79


class CellCheckError(CharlmError):
    """A cell that fails a conformance check."""

    code = 80


class Interrupted(BaseException):
    """SIGINT or SIGTERM. It is no Exception, so that no library swallows it."""

    def __init__(self, signal: int, text: str = "interrupted") -> None:
        """Create it for a signal, whose number plus 128 is the exit code."""
        super().__init__(text)
        self.signal = signal


EXIT_CODES = {  # shown by charlm --help and in the README
    0: "done",
    2: "usage: an option or argument that the command does not have",
    65: "bad data: a text or a run that is damaged or cannot be used",
    66: "an input is missing or cannot be read",
    69: "a Ray cluster does not answer, or is lost",
    70: "a bug in charlm",
    73: "the output exists already",
    74: "the disk is full or failed",
    75: "another process is writing this directory",
    76: "the loss is no longer finite",
    78: "settings contradict each other, the run, or this machine",
    79: "not enough memory",
    80: "a cell fails a conformance check",
    130: "interrupted (SIGINT), after saving",
    141: "the reader of the output is gone",
    143: "terminated (SIGTERM), after saving",
}
