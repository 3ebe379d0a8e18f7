"""Learning rate schedule: linear warmup, then linear or cosine decay."""

import math

from charlm.config import Config

FINAL_LR_FRACTION = 0.02  # final learning rate as a fraction of the peak


def learning_rate(config: Config, step: int, max_steps: int) -> float:
    """Return the learning rate of a step.

    Warmup takes `warmup_steps`, but at most a tenth of the run.

    Args:
        config: Peak learning rate, warmup and kind of decay.
        step: Number of the step, from 0.
        max_steps: Steps of the run.
    """
    warmup = min(config.warmup_steps, max_steps // 10)
    if step < warmup:
        return config.learning_rate * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, max_steps - warmup)
    decay = 1 - done if config.lr_schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return config.learning_rate * (FINAL_LR_FRACTION + (1 - FINAL_LR_FRACTION) * decay)
