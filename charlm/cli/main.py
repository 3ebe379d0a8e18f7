"""All commands, and how errors of their parser become errors of charlm."""

import os
import re
import signal
import sys
from typing import Any

import typer
from typer.exceptions import Abort, TyperException

from charlm.cli import cells as cells
from charlm.cli import clean as clean
from charlm.cli import compare as compare
from charlm.cli import compress as compress
from charlm.cli import config as config
from charlm.cli import corpora as corpora
from charlm.cli import diff as diff
from charlm.cli import doctor as doctor
from charlm.cli import eval as eval
from charlm.cli import export as export
from charlm.cli import inspect as inspect
from charlm.cli import metrics as metrics
from charlm.cli import probe as probe
from charlm.cli import report as report
from charlm.cli import reproduce as reproduce
from charlm.cli import runs as runs
from charlm.cli import sample as sample
from charlm.cli import tasks as tasks
from charlm.cli import train as train
from charlm.cli import verify as verify
from charlm.cli.app import app
from charlm.cli.suggestions import did_you_mean, nearest, suggest_options
from charlm.cli.values import describe_expected_value, typed_spelling, typed_value
from charlm.config import MAX_THREADS
from charlm.errors import ConfigError, Interrupted, UsageError

COMPLETION_VARIABLE = "_CHARLM_COMPLETE"  # a shell asks for completions


def run_command() -> int:
    """Run the command of `sys.argv` and return its exit code.

    Raises:
        UsageError: An option or argument is wrong.
        ConfigError: An environment variable asks for far too many threads.
        Interrupted: The command was aborted.
    """
    check_thread_variable()
    try:
        return app(standalone_mode=False, prog_name="charlm") or 0
    except Abort as error:
        raise Interrupted(signal.SIGINT) from error
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.format_message())
            return error.exit_code
        raise UsageError(describe_usage_error(error)) from None
    except SystemExit as error:
        if COMPLETION_VARIABLE in os.environ or error.code == 0:
            return int(error.code or 0)
        raise  # the reader of the output is gone


def check_thread_variable() -> None:
    """Check OMP_NUM_THREADS, which PyTorch reads when it is imported; it ignores what is no number.

    Raises:
        ConfigError: The system could not start as many threads.
    """
    value = os.environ.get("OMP_NUM_THREADS", "")
    numbers = [int(part) for part in value.split(",") if re.fullmatch(r"\s*[0-9]{1,20}\s*", part)]
    if any(number > MAX_THREADS for number in numbers):
        raise ConfigError(
            f"cannot use the environment variable OMP_NUM_THREADS={value}: at most {MAX_THREADS} "
            "threads are possible. Try unset OMP_NUM_THREADS"
        )


def describe_usage_error(error: Any) -> str:
    """Return cause and remedy of an error that the parser found, in one line."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else _command_path()
    remedy = f"Try '{path} --help'"
    kind = type(error).__name__
    if context and kind == "NoSuchOption":
        known = [s for p in context.command.get_params(context) for s in _spellings(p)]
        meant = did_you_mean(suggest_options(error.option_name, known))
        return f"no such option: {error.option_name}. {meant}{remedy}"
    parameter = getattr(error, "param", None)
    if kind == "BadParameter" and parameter is not None:
        value, expected = typed_value(parameter), describe_expected_value(parameter)
        problem = f"it must be {expected}" if expected else error.message.rstrip(".")
        near = did_you_mean(nearest(value, parameter.type_descriptor.choices or ()))
        return f"cannot use {typed_spelling(parameter)} {value}: {problem}. {near}{remedy}"
    problem = " ".join(error.format_message().split()).rstrip(".")
    return f"{problem[0].lower()}{problem[1:]}. {remedy}"


def _command_path() -> str:
    """Return the command of `sys.argv`, such as `charlm cells show`."""
    path, group = "charlm", typer.main.get_command(app)
    for word in sys.argv[1:]:
        if word not in getattr(group, "commands", {}):
            break
        path, group = f"{path} {word}", group.commands[word]  # type: ignore[attr-defined]
    return path


def _spellings(parameter: Any) -> list[str]:
    """Return all spellings of an option; an argument has none."""
    return [s for s in (*parameter.opts, *parameter.secondary_opts) if s.startswith("-")]
