"""End of a process without Python's clean-up of modules and objects.

With PyTorch that clean-up takes half a CPU second. Python runs exit functions in the reverse order
of their registration, so that the first one to be registered can end the process after all others.
"""

import atexit
import os
import sys
from contextlib import suppress
from functools import cache
from typing import NoReturn

from charlm.errors import CharlmError

_code = [CharlmError.code]  # exit code of this process; it stays if an exception is not caught


@cache  # a forked process has it from its parent
def register_quick_end() -> None:
    """End this process after its exit functions, those registered before this call excepted.

    It must therefore be called before anything is imported that registers some.
    """
    atexit.register(_end_now)


def exit_quickly(code: int) -> NoReturn:
    """Exit with a code, and end as `register_quick_end` says if that was called."""
    _code[0] = code
    sys.exit(code)


def end_without_exit_functions(code: int) -> NoReturn:
    """End this process at once; what was printed is written."""
    _code[0] = code
    _end_now()


def _end_now() -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(_code[0])
