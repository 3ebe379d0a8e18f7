"""Entry point of the command line: signals, and one line and exit code for every error."""

import gc
import os
import signal
import sys
import warnings
from contextlib import suppress
from typing import NoReturn

from charlm import console
from charlm.errors import (
    EXIT_CODES,
    CharlmError,
    InputNotFoundError,
    InsufficientMemoryError,
    Interrupted,
    StorageError,
)
from charlm.execution import signals
from charlm.execution.parent_process import end_with_parent
from charlm.execution.process_end import (
    end_without_exit_functions,
    exit_quickly,
    register_quick_end,
)
from charlm.execution.signals import handle_stop_signals, raise_pending, received_signals
from charlm.execution.torchrun import world_size

PIPE_CODE = 128 + signal.SIGPIPE  # the reader of our output is gone
DEBUG_VARIABLE = "CHARLM_DEBUG"  # if set, tracebacks and warnings of libraries are shown
GC_THRESHOLD = 50_000  # new objects after which Python looks for garbage; its default is 700


def report_error(error: BaseException) -> int:
    """Print an error in one line, with --json also as JSON on stdout, and return its exit code."""
    code, message = describe_error(error)
    if code == PIPE_CODE:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code
    if isinstance(error, Interrupted) and sys.stderr.isatty():
        with suppress(OSError):
            sys.stderr.write("\r")  # over the ^C that the terminal shows
    console.print_error(f"charlm: {message}")
    if "--json" in sys.argv[1:]:  # also where the command line cannot be parsed
        from msgspec import to_builtins

        from charlm.results.program import ErrorDetails, ErrorReport

        details = ErrorDetails(code=EXIT_CODES[code].name, exit_code=code, message=message)
        with suppress(OSError):  # stdout is full or closed
            console.print_json(to_builtins(ErrorReport(details)))
    return code


def describe_error(error: BaseException) -> tuple[int, str]:
    """Return the exit code of an error, and its message of one line."""
    if received_signals and not isinstance(error, CharlmError | Interrupted):
        error = Interrupted(received_signals[0])
    if isinstance(error, CharlmError):
        return error.code, str(error)
    if isinstance(error, Interrupted):
        return 128 + error.signal, str(error)
    if isinstance(error, BrokenPipeError | SystemExit):  # Typer makes the latter of the former
        return PIPE_CODE, ""
    if isinstance(error, OSError):
        path = f"{error.filename}: " if error.filename else ""
        is_missing = isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError)
        code = InputNotFoundError.code if is_missing else StorageError.code
        return code, f"{path}{error.strerror or error}. Check the path and the disk"
    if is_out_of_memory(error):
        message = "not enough memory. Try a smaller model or batch"
        return InsufficientMemoryError.code, message
    return CharlmError.code, (
        f"a bug in charlm: {type(error).__name__}: {error}. Please report it; "
        f"{DEBUG_VARIABLE}=1 shows the traceback"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, in Python or in PyTorch, on the CPU or on a GPU."""
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")  # without it, the error cannot be one of PyTorch's
    if torch is None:
        return False
    return isinstance(error, torch.OutOfMemoryError) or is_plain_allocation_error(error)


def is_plain_allocation_error(error: BaseException) -> bool:
    """Return whether PyTorch failed to allocate memory without a class of its own for that.

    Its CPU allocator, `mmap` of a file and libraries of CUDA raise a plain RuntimeError, so that
    only the text tells.
    """
    phrases = ("DefaultCPUAllocator", "allocate memory", "out of memory")
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in phrases)


def open_closed_streams() -> None:
    """Open the null device in place of standard streams that the parent process has closed.

    Otherwise the next file to be opened, such as a checkpoint, would be taken for one of them.
    `sys.stdin` stays None, so that a command can tell.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, "w", closefd=False))  # noqa: SIM115
        getattr(sys, name).reconfigure(encoding="utf-8", errors="backslashreplace")


def run() -> int:
    """Run the command line and return the exit code."""
    open_closed_streams()
    # Importing PyTorch creates a million objects that stay: looking for garbage among them, as
    # often as Python does by default, takes longer than a small command.
    gc.set_threshold(GC_THRESHOLD)
    if DEBUG_VARIABLE not in os.environ:
        warnings.simplefilter("ignore")  # of libraries
    signals.exit_process = os._exit
    try:
        handle_stop_signals()  # first of all, because the imports below take a while
        end_with_parent()
        from charlm.cli.main import run_command

        code = run_command()
        sys.stdout.flush()
        raise_pending()
    except BaseException as error:
        if DEBUG_VARIABLE in os.environ and not isinstance(error, CharlmError):
            raise
        return report_error(error)
    return code


def main() -> NoReturn:
    """Run the command line and exit."""
    register_quick_end()
    code = run()
    if world_size() > 1:
        # Threads of gloo outlive their process group: one time in twenty, on a busy machine, they
        # abort a Python that is shutting down.
        end_without_exit_functions(code)
    exit_quickly(code)


if __name__ == "__main__":
    main()
