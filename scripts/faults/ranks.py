"""Two forked processes that train a run together, as torchrun would start them."""

import os
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress

from charlm.errors import Interrupted

RANKS = 2


def run_ranks(work: Callable[[bool], object]) -> None:
    """Call a function in each of two processes that gloo connects.

    Args:
        work: Is told whether this process is the main one; a stop by a signal is no failure.

    Raises:
        RuntimeError: It failed in one of them.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [_fork(work, rank, port) for rank in range(RANKS)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
    if any(codes):
        raise RuntimeError(f"processes that train together ended with {codes}")


def _fork(work: Callable[[bool], object], rank: int, port: int) -> int:
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    try:
        os.environ |= {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": str(RANKS)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "GLOO_SOCKET_IFNAME": "lo"}
        with suppress(Interrupted):
            work(rank == 0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
