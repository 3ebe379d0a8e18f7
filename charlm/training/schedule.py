"""TODO docstring."""

import math

from charlm.config import Config

FINAL_LR_FRACTION = 0.02  # of the highest learning rate: where the schedule ends


def learning_rate(config: Config, update: int, updates: int) -> float:
    """Of the update with this number, from 0: a line up, then a line or a cosine down to 2 %.

    The way up takes `warmup` updates, or a tenth of a run that is shorter than ten times that.
    """
    warmup = min(config.warmup_steps, updates // 10)
    if update < warmup:
        return config.learning_rate * (update + 1) / (warmup + 1)
    done = (update - warmup) / max(1, updates - warmup)
    left = 1 - done if config.lr_schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return config.learning_rate * (FINAL_LR_FRACTION + (1 - FINAL_LR_FRACTION) * left)
