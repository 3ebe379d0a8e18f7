"""What can go wrong: each kind has one exit code and says cause, place and way out in one line."""


class CharlmError(Exception):
    """A failure that a person can mend; its text is the one line that they see."""

    code = 70


class DataError(CharlmError):
    """Text or a run that is damaged, or is not what it claims to be."""

    code = 65


class InputNotFoundError(CharlmError):
    """An input that is not there or cannot be read."""

    code = 66


class ClusterError(CharlmError):
    """A cluster that does not answer, or is lost."""

    code = 69


class OutputExistsError(CharlmError):
    """An output that is already there and would be overwritten."""

    code = 73


class StorageError(CharlmError):
    """The disk is full or failed."""

    code = 74


class LockedError(CharlmError):
    """Another process is writing here."""

    code = 75


class DivergedError(CharlmError):
    """The loss or its gradient stopped being a number."""

    code = 76


class ConfigError(CharlmError):
    """Settings that contradict each other, the run, or this machine."""

    code = 78


class InsufficientMemoryError(CharlmError):
    """More memory than there is."""

    code = 79


class CellCheckError(CharlmError):
    """A cell does not do what every cell must."""

    code = 80


class Interrupted(BaseException):
    """SIGINT or SIGTERM, exit code 128 and its number; no Exception, lest a library swallow it."""

    def __init__(self, signal: int, text: str = "interrupted") -> None:
        super().__init__(text)
        self.signal = signal


EXIT_CODES = {  # shown by charlm --help and in the README
    0: "done",
    2: "usage: an option or argument that the command does not take",
    65: "bad data: text or a checkpoint that cannot be used as it is",
    66: "an input is missing or cannot be read",
    69: "a cluster does not answer, or was lost",
    70: "a fault in charlm itself",
    73: "the output exists already",
    74: "the disk is full or failed",
    75: "another process is writing this run",
    76: "the loss stopped being a finite number",
    78: "settings that contradict each other, the run, or this machine",
    79: "more memory than there is",
    80: "a cell breaks a promise that every cell makes",
    130: "interrupted (SIGINT), after saving",
    141: "the reader of the output has gone",
    143: "terminated (SIGTERM), after saving",
}
