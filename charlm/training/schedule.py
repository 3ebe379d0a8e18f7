"""Learning rate schedules: linear warmup, then constant with a final decay, linear or cosine."""

import math

from charlm.config import Config
from charlm.settings.values import DECAY_FRACTION, FINAL_LR_FRACTION, limit_warmup


def learning_rate(config: Config, step: int, max_steps: int, end_step: int | None = None) -> float:
    """Return the learning rate of a step.

    Warmup takes `warmup_steps`, but at most a tenth of the run. wsd (warmup, stable, decay) is then
    constant, and decays with 1 - sqrt(progress) in the last three tenths of the run. So before its
    decay a run does not depend on its budget, and a copy can be decayed at any time: see
    `branch_steps`. docs/explanation/recipes.md compares forms and lengths of the decay.

    Source:
        wsd: Hu et al. 2024, MiniCPM; the form of the decay: Hägele et al. 2024, Scaling Laws and
        Compute-Optimal Training Beyond Fixed Training Durations.

    Args:
        config: Peak learning rate, warmup and kind of decay.
        step: Number of the step, from 0.
        max_steps: Steps of the run.
        end_step: Steps after which a branch of the run ends; default: `max_steps`.
    """
    warmup = limit_warmup(config.warmup_steps, max_steps)
    peak = config.learning_rate * min(1.0, (step + 1) / (warmup + 1))
    if config.lr_schedule == "wsd":
        start, end = branch_steps(max_steps if end_step is None else end_step)
        decay = 1 - math.sqrt(max(0, step + 1 - start) / (end - start))
    else:
        done = max(0, step - warmup) / max(1, max_steps - warmup)
        decay = 1 - done if config.lr_schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return peak * (FINAL_LR_FRACTION + (1 - FINAL_LR_FRACTION) * decay)


def branch_steps(end_step: int) -> tuple[int, int]:
    """Return after how many steps the decay of wsd begins and ends, if it ends at `end_step`."""
    return end_step - max(1, round(DECAY_FRACTION * end_step)), end_step
