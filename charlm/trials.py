"""What tuning is worth: the best of so many trials that one may expect."""

from collections.abc import Sequence


def expected_best(results: Sequence[float]) -> list[float]:
    """Validation bits of n random trials -> the lowest of 1, 2, ... n that one may expect.

    Dodge et al. (2019), Show your work, equation 7, for what is to be low: k trials drawn from the
    n, with replacement, are all at the i-th lowest or above with chance ((n - i + 1) / n)^k.
    """
    ordered = sorted(results)
    n = len(ordered)
    return [
        sum(
            value * (((n - place) / n) ** trials - ((n - place - 1) / n) ** trials)
            for place, value in enumerate(ordered)
        )
        for trials in range(1, n + 1)
    ]
