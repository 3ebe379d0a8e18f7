"""Results about the program itself: its version, its exit codes, and errors."""

import msgspec


class ErrorDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Cause and remedy of an error."""

    code: str  # name of the exit code, as charlm exit-codes lists it
    exit_code: int  # of the process
    message: str  # cause and remedy in one line


class ErrorReport(msgspec.Struct, frozen=True):
    """Printed by every command with `--json` in place of a result if it fails."""

    error: ErrorDetails


class VersionReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `charlm --version --json`."""

    charlm: str
    torch: str  # version of PyTorch
    python: str  # version of Python


class ExitCodeSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An exit code."""

    exit_code: int  # of the process
    code: str  # its name, as in the error object of --json
    meaning: str  # in words


class ExitCodeList(msgspec.Struct, frozen=True):
    """Result of `charlm exit-codes`."""

    exit_codes: tuple[ExitCodeSummary, ...]  # in order of their numbers
