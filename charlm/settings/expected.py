"""Descriptions in words of the values that a type accepts, for error messages."""

from typing import Any

from msgspec import inspect as schema


def describe_expected(annotation: Any) -> str:
    """Return what values of a type are, such as "a number of at least 0 and below 1"."""
    kind = schema.type_info(annotation)
    while isinstance(kind, schema.Metadata):
        kind = kind.type
    if isinstance(kind, schema.LiteralType):
        return f"one of {', '.join(map(str, kind.values))}"
    if isinstance(kind, schema.IntType):
        return f"a whole number {describe_range(kind.ge, kind.le, kind.gt, kind.lt)}".rstrip()
    if isinstance(kind, schema.FloatType):
        return f"a number {describe_range(kind.ge, kind.le, kind.gt, kind.lt)}".rstrip()
    if isinstance(kind, schema.StrType) and kind.max_length:
        least = f"{kind.min_length:,} to" if kind.min_length else "at most"
        return f"a text of {least} {kind.max_length:,} characters"
    return "true or false" if isinstance(kind, schema.BoolType) else "a text"


def describe_range(
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> str:
    """Return limits in words; `above` and `below` are limits that are excluded."""
    if minimum is not None and maximum is not None:
        return f"from {_number(minimum)} to {_number(maximum)}"
    limits = [("of at least", minimum), ("above", above), ("at most", maximum), ("below", below)]
    return " and ".join(f"{words} {_number(each)}" for words, each in limits if each is not None)


def _number(limit: float) -> str:
    """Return a limit without .0, and with commas between thousands."""
    return f"{int(limit) if limit == int(limit) else limit:,}"
