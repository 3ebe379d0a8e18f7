"""Environment variables of torchrun, which starts several processes that train one model."""

import os
import re

# Removed from the environment of workers: a worker trains alone.
TORCHRUN_VARIABLES = re.compile(
    r"(LOCAL_|GROUP_|ROLE_)?(RANK|WORLD_SIZE)|ROLE_NAME|MASTER_(ADDR|PORT)|TORCHELASTIC_\w+"
)


def world_size() -> int:
    """Return the number of processes that torchrun started; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", 1)) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def is_main_process() -> bool:
    """Return whether this process has rank 0, and so writes files and messages."""
    return world_size() == 1 or os.environ["RANK"] == "0"
