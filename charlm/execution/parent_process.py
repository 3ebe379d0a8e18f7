"""Parent process of a worker: how a worker knows it, and ends when it is gone."""

import ctypes
import os
import signal
import sys

from charlm.execution.torchrun import world_size

# Process id of the parent of a worker. The worker stops when that process is gone.
PARENT_PID_VARIABLE = "CHARLM_PARENT"
PR_SET_PDEATHSIG = 1  # of prctl(2)


def is_worker() -> bool:
    """Return whether another charlm process started this one, and shows what it does."""
    return PARENT_PID_VARIABLE in os.environ


def is_orphaned() -> bool:
    """Return whether the process that started this worker is gone."""
    parent = os.environ.get(PARENT_PID_VARIABLE)
    return parent is not None and str(os.getppid()) != parent


def end_with_parent() -> None:
    """Let the kernel send SIGTERM to this worker when the process that started it ends.

    The ranks of torchrun are such workers, too. Where the kernel has no such call, as on macOS,
    only those commands end that ask `is_orphaned`.
    """
    if sys.platform != "linux" or not (is_worker() or world_size() > 1):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if is_orphaned():  # since before that call
        os.kill(os.getpid(), signal.SIGTERM)
