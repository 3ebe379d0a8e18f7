"""Values of options: conversion, and errors that name the spelling that was typed."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import msgspec
import typer

from charlm.cli.suggestions import did_you_mean, nearest
from charlm.config import BUDGETS, LEFT_TO_RECIPE
from charlm.errors import InputNotFoundError, UsageError
from charlm.execution.parent_process import is_worker
from charlm.settings.expected import describe_expected, describe_range

# Options of which 0 in a file or a job leaves the value to the recipe, or to another budget.
NEVER_ZERO = (*BUDGETS, *(name for name, value in LEFT_TO_RECIPE.items() if value == 0))


def standard_input() -> TextIO:
    """Return standard input.

    Raises:
        InputNotFoundError: The process that started this one has closed it.
    """
    if sys.stdin is None:
        raise InputNotFoundError(
            "cannot read standard input: it is closed. Try to pipe a text into this command"
        )
    return sys.stdin


def check_no_zeros(context: typer.Context, values: Mapping[str, Any]) -> None:
    """Raise UsageError if a person sets a budget, a rate or a size to 0."""
    for name in NEVER_ZERO:
        source = context.get_parameter_source(name)
        is_typed = source is not None and source.name == "COMMANDLINE" and not is_worker()
        if is_typed and name in values and values[name] == 0:
            (parameter,) = (p for p in context.command.params if p.name == name)
            raise UsageError(
                f"cannot use {typed_spelling(parameter)} 0: it must be above 0. "
                "Leave it out for the default"
            )


def typed_spelling(parameter: Any) -> str:
    """Return the spelling of an option on the command line; of an argument its name."""
    names = {word.partition("=")[0] for word in sys.argv[1:]}
    spellings = [spelling for spelling in parameter.opts if spelling.startswith("-")]
    label = parameter.metavar or parameter.name.upper()
    return next((s for s in spellings if s in names), (*spellings, label)[0])


def typed_value(parameter: Any) -> str:
    """Return the value of an option on the command line, as far as it can be found."""
    spelling = typed_spelling(parameter)
    for word, following in zip(sys.argv[1:], [*sys.argv[2:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name == spelling:
            return value if equals else following
    return ""


def describe_expected_value(parameter: Any) -> str:
    """Return what a parameter of the command line accepts; empty if it is any text."""
    if choices := parameter.type_descriptor.choices:
        return f"one of {', '.join(map(str, choices))}"
    nouns = {int: "a whole number", float: "a number"}
    if noun := nouns.get(parameter.type_descriptor.annotation):
        return f"{noun} {describe_range(parameter.min, parameter.max)}".rstrip()
    return ""


def converter(annotation: Any, words: Mapping[str, int] = {}) -> Callable[..., Any]:
    """Return a callback that converts the text of an option to a type with its limits.

    Args:
        annotation: Type with its limits.
        words: Words that stand for numbers.
    """

    def convert(context: typer.Context, parameter: typer.CallbackParam, value: Any) -> Any:
        if value is None or context.resilient_parsing:
            return value
        if value in words:
            return words[value]
        try:
            return msgspec.convert(value, annotation, strict=False)
        except (msgspec.ValidationError, UnicodeEncodeError):  # the second: bytes that are no UTF-8
            expected = describe_expected(annotation)
            choices = expected.removeprefix("one of ").split(", ")
            expected = " or ".join([expected, *words])
            near = nearest(value, choices) if expected.startswith("one of ") else []
            raise UsageError(
                f"cannot use {typed_spelling(parameter)} {value}: it must be {expected}. "
                f"{did_you_mean(near)}Try '{context.command_path} --help'"
            ) from None

    return convert
