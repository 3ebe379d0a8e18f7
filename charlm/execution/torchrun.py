"""What torchrun tells the processes that it starts to train one model together."""

import os
import re

# A worker that one of them starts is alone: it is not told.
TORCHRUN_VARIABLES = re.compile(
    r"(LOCAL_|GROUP_|ROLE_)?(RANK|WORLD_SIZE)|ROLE_NAME|MASTER_(ADDR|PORT)|TORCHELASTIC_\w+"
)


def world_size() -> int:
    """How many processes torchrun has started; 1 if it did not start us."""
    return int(os.environ.get("WORLD_SIZE", 1)) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def is_main_process() -> bool:
    return world_size() == 1 or os.environ["RANK"] == "0"
