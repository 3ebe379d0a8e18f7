"""Lengths of a task: those that `--lengths` names, and the bounds of a task."""

import re

from charlm.errors import ConfigError

STEPS_PER_DECADE = (1, 2, 5)  # lengths of a range


def parse_lengths(text: str, min_length: int = 1, max_length: int | None = None) -> list[int]:
    """Return the lengths that `--lengths` names, in increasing order.

    Args:
        text: A range such as "10..100" (10, 20, 50, 100), or a list such as "10,30".
        min_length: Smallest length of the task.
        max_length: Largest length of the task; None: there is no bound.

    Raises:
        ConfigError: The text is neither, ends before it begins, contains no length, or one that is
            too small or too large.
    """
    problem = f"cannot use --lengths {text}"
    bounds = re.fullmatch(r"(\d{1,7})\.\.(\d{1,7})", text)
    if bounds:
        low, high = int(bounds[1]), int(bounds[2])
        if low > high:
            raise ConfigError(f"{problem}: it ends before it begins. Try one such as 10..1000")
        steps = [step * 10**exponent for exponent in range(7) for step in STEPS_PER_DECADE]
        lengths = [step for step in steps if low <= step <= high]
    elif re.fullmatch(r"\d{1,7}(,\d{1,7})*", text):
        lengths = sorted({int(number) for number in text.split(",")})
        low = lengths[0]
    else:
        raise ConfigError(
            f"{problem}: it is neither a range nor a list. Try a range such as 10..1000, or a list "
            "such as 10,30,100"
        )
    check_length(low, f"--lengths {text}", min_length, max_length)
    if not lengths:
        raise ConfigError(
            f"{problem}: it contains none of 1, 2, 5, 10, 20, 50 … Try a range such as 10..1000 "
            "or a list"
        )
    check_length(lengths[-1], f"--lengths {text}", min_length, max_length)
    return lengths


def check_length(
    length: int, option: str, min_length: int = 1, max_length: int | None = None
) -> None:
    """Raise ConfigError if a task is not defined for a length; option: for the message."""
    if length < min_length:
        raise ConfigError(
            f"cannot use {option}: the smallest length of this task is {min_length}. "
            f"Try lengths from {min_length} on"
        )
    if max_length and length > max_length:
        raise ConfigError(
            f"cannot use {option}: the largest length of this task is {max_length:,}. "
            f"Try lengths up to {max_length:,}"
        )
