"""Values of settings that have a form of their own: ratios, fractions, forget biases, warmup."""

import math
import re
from fractions import Fraction

import msgspec

from charlm.errors import InvalidValueError

Setting = bool | int | float | str  # value of a field of `Config`
FINAL_LR_FRACTION = 0.02  # final learning rate as a fraction of the peak
DECAY_FRACTION = 0.3  # last part of a run in which wsd decays
LARGEST_BIAS = 10_000  # beyond it a gate is closed or open for good
LINE_END = "\n"
DOCUMENT_WORDS = ("none", "file", "line")  # values of `documents` that are no separator
MIN_CHRONO_LENGTH = 3  # the shortest memory that chrono initialization is defined for


def limit_warmup(warmup_steps: int, max_steps: int) -> int:
    """Return the steps of warmup of a run: at most a tenth of it."""
    return min(warmup_steps, max_steps // 10)


def parse_split_ratios(ratios: str) -> tuple[Fraction, Fraction, Fraction]:
    """Return the exact proportions of train, valid and test: '90/5/5' -> (9/10, 1/20, 1/20).

    Raises:
        InvalidValueError: The text is not three positive numbers.
    """
    number = r"(\d{1,9}(?:\.\d{1,9})?)"
    match = re.fullmatch(f"{number}/{number}/{number}", ratios)
    train, valid, test = map(Fraction, match.groups()) if match else (Fraction(0),) * 3
    if not min(train, valid, test):
        raise InvalidValueError(
            f"cannot use --split-ratios {ratios}: it must be three positive numbers, for train, "
            "valid and test. Try 90/5/5"
        )
    total = train + valid + test
    return train / total, valid / total, test / total


def parse_branches(text: str) -> tuple[Fraction, ...]:
    """Return the fractions of the budget at which a branch ends: '1/8,1/3' -> (1/8, 1/3).

    Raises:
        InvalidValueError: The text is not a list of ascending fractions between 0 and 1.
    """
    if not text:
        return ()
    number = r"\s*(\d{1,9}(?:/\d{1,9}|\.\d{1,9})?)\s*"
    matches = [re.fullmatch(number, part) for part in text.split(",")]
    try:
        fractions = tuple(Fraction(match[1]) for match in matches if match)
    except ZeroDivisionError:
        fractions = ()
    ascending = list(fractions) == sorted(set(fractions))
    if (
        len(fractions) != len(matches)
        or not ascending
        or not 0 < min(fractions) <= max(fractions) < 1
    ):
        raise InvalidValueError(
            f"cannot use --branches {text}: it must be ascending fractions of the budget, between "
            "0 and 1. Try 1/8,1/3"
        )
    return fractions


def document_separator(setting: str) -> str:
    """Return the text that ends a document by the setting `documents`; "" if none does.

    Raises:
        InvalidValueError: It is one of the words in another form, such as Files, so it is hardly
            meant as a text.
    """
    if setting in ("none", "file"):
        return ""
    word = setting.strip(" ").lower().removesuffix("s")
    if word in DOCUMENT_WORDS and setting not in DOCUMENT_WORDS:
        raise InvalidValueError(
            f"cannot use --documents {setting}: did you mean {word}? As a text that ends a "
            "document it is too like that word. Try a longer text, such as one with its line end"
        )
    return LINE_END if setting == "line" else setting


class ForgetBias(msgspec.Struct, frozen=True):
    """Parsed `forget_bias`: both None leave it to the cell."""

    bias: float | None = None  # the same for all units
    chrono_length: int | None = None  # longest memory of chrono initialization, in tokens


def parse_forget_bias(text: str, seq_len: int) -> ForgetBias:
    """Parse default, a number, chrono or chrono:N.

    Args:
        text: Value of `forget_bias`.
        seq_len: Longest memory in tokens, where chrono names none.

    Raises:
        InvalidValueError: The text is none of these, the number is too large, or N is below 3.
    """
    if text == "default":
        return ForgetBias()
    if match := re.fullmatch(r"chrono(?::(\d{1,9}))?", text):
        length = int(match[1] or seq_len)
        if length < MIN_CHRONO_LENGTH:
            raise InvalidValueError(
                f"cannot use --forget-bias {text}: chrono needs at least {MIN_CHRONO_LENGTH} "
                "tokens. Try chrono:100"
            )
        return ForgetBias(chrono_length=length)
    try:
        bias = float(text)
    except ValueError:
        bias = math.nan
    if not -LARGEST_BIAS <= bias <= LARGEST_BIAS:  # also NaN
        raise InvalidValueError(
            f"cannot use --forget-bias {text}: it must be default, a number, chrono or chrono:N "
            f"(numbers from -{LARGEST_BIAS:,} to {LARGEST_BIAS:,}). Try --forget-bias 2"
        )
    return ForgetBias(bias=bias)
