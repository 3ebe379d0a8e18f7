"""Branches: copies of the model that are decayed during a run, validated and thrown away.

They show what the run would have reached with a part of its budget. Before its decay, a run with
the schedule wsd does not depend on its budget, so a decayed copy is exactly that shorter run (up to
its warmup). A branch is a pure function of the state where it starts.

Source:
    Hägele et al. 2024, Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations.
"""

from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from charlm.config import Config
from charlm.errors import ConfigError
from charlm.settings.values import parse_branches
from charlm.training.schedule import branch_steps


class Branch(NamedTuple):
    """A branch of a run; steps are counted from the start of the run."""

    fraction: Fraction  # of the budget
    start: int  # steps after which the copy is taken
    end: int  # steps after which it has decayed


def plan_branches(config: Config, max_steps: int) -> tuple[Branch, ...]:
    """Return the branches of a run, in order.

    Raises:
        ConfigError: The budget is too small for them.
    """
    branches = tuple(
        Branch(fraction, *branch_steps(max(1, round(fraction * max_steps))))
        for fraction in parse_branches(config.branches)
    )
    starts = [branch.start for branch in branches]
    if any(first >= second for first, second in pairwise([0, *starts])):
        raise ConfigError(
            f"cannot use --branches {config.branches}: the run has only {max_steps} steps, and "
            "each copy must be taken after another one. Try a larger budget or fewer branches"
        )
    return branches
