"""The program: every way out goes through here, with one line and a documented exit code."""

import os
import signal
import sys
import warnings
from contextlib import suppress
from typing import NoReturn

from charlm import console
from charlm.errors import (
    CharlmError,
    InputNotFoundError,
    InsufficientMemoryError,
    Interrupted,
    StorageError,
)
from charlm.execution.signals import raise_interrupted, raise_pending, received_signals
from charlm.execution.torchrun import world_size


def report_error(error: BaseException) -> int:
    """Says in one line what went wrong, and how to mend it."""
    from typer.exceptions import Abort, TyperException

    if received_signals and not isinstance(error, CharlmError | Interrupted):
        error = Interrupted(received_signals[0])
    if isinstance(error, CharlmError):
        console.print_message(f"charlm: {error}")
        return error.code
    if isinstance(error, Interrupted | Abort):
        number = error.signal if isinstance(error, Interrupted) else signal.SIGINT
        console.print_message(f"charlm: {error or 'interrupted'}")
        return 128 + number
    if isinstance(error, TyperException):
        if type(error).__name__ != "NoArgsIsHelpError":  # whose help is already shown
            command = getattr(getattr(error, "ctx", None), "command_path", "charlm")
            said = " ".join(error.format_message().split()).rstrip(".")
            console.print_message(f"charlm: {said}. See '{command} --help'")
        return error.exit_code
    if isinstance(error, BrokenPipeError | SystemExit):
        # The reader of our output has seen enough; Typer makes a SystemExit of it, and only of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        console.print_message(
            f"charlm: {place}{error.strerror or error}. Check the path and the disk"
        )
        missing = isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError)
        return InputNotFoundError.code if missing else StorageError.code
    if isinstance(error, MemoryError) or "allocate" in str(error) or "out of memory" in str(error):
        console.print_message(
            "charlm: there is not enough memory. Make the model or the batch smaller"
        )
        return InsufficientMemoryError.code
    console.print_message(
        f"charlm: a fault in charlm itself: {type(error).__name__}: {error}. "
        "Please report it; CHARLM_DEBUG=1 shows where it happened"
    )
    return CharlmError.code


def main() -> NoReturn:
    """The program: every way out goes through here."""
    signal.signal(
        signal.SIGINT, raise_interrupted
    )  # first of all: loading what follows takes a while
    signal.signal(signal.SIGTERM, raise_interrupted)
    if "CHARLM_DEBUG" not in os.environ:
        warnings.simplefilter("ignore")  # of the libraries: nothing foreign is shown raw
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        getattr(sys, name).reconfigure(encoding="utf-8", errors="backslashreplace")
    code: int | None = None
    try:
        from charlm.cli import app

        code = app(standalone_mode=False, prog_name="charlm")
        sys.stdout.flush()
        raise_pending()
    except BaseException as error:
        if "CHARLM_DEBUG" in os.environ and not isinstance(error, CharlmError):
            raise
        code = report_error(error)
    if world_size() > 1:
        # At once: threads of PyTorch's gloo outlive its process group and, one time in twenty on a
        # busy machine, abort a Python that is tidying up.
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(code or 0)
    sys.exit(code or 0)
