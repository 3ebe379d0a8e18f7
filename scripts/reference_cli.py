"""Reference pages of the command line: commands, settings and exit codes."""

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints
from unittest import mock

import msgspec
import typer  # noqa: TID251

import charlm.cli.main  # noqa: F401  # registers the commands
from charlm.cli.app import app
from charlm.config import Config, option_metadata, option_name
from charlm.errors import EXIT_CODES

HELP_WIDTH = "80"
TABLE_HEAD = "| option | value | default | meaning |\n|---|---|---|---|"


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of each visible command, such as ("tasks", "compare")."""
    command = command or typer.main.get_command(app)
    for name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            yield (*path, name)
            yield from commands(child, (*path, name))


def help_text(words: tuple[str, ...]) -> str:
    """Return what `charlm WORDS --help` prints, 80 columns wide."""
    output = io.StringIO()
    environment = {"COLUMNS": HELP_WIDTH, "NO_COLOR": "1", "TERM": "dumb"}
    with mock.patch.dict(os.environ, environment), contextlib.redirect_stdout(output):
        typer.main.get_command(app).main(
            [*words, "--help"], standalone_mode=False, prog_name="charlm"
        )
    lines = [line.rstrip() for line in output.getvalue().splitlines()]
    return "\n".join(lines).strip("\n") + "\n"


def cli_page() -> str:
    """Return the help of every command."""
    parts = [
        "# Command line",
        "The help of every command, as `charlm COMMAND --help` prints it. Options of a run, such "
        "as `--cell`, are described in [settings](settings.md).",
        f"```text\n{help_text(())}```",
    ]
    for words in commands():
        parts += [f"## charlm {' '.join(words)}", f"```text\n{help_text(words)}```"]
    return "\n\n".join(parts)


def settings_page() -> str:
    """Return one table of options per panel: those of `Config`."""
    panels: dict[str, list[str]] = {}
    for name in get_type_hints(Config):
        metadata = option_metadata(name)
        panels.setdefault(metadata.panel, []).append(settings_row(name))
    parts = [
        "# Settings",
        "The settings of a run. Each is an option of `charlm train`, a keyword of `charlm.Config`, "
        "a key of `run.json` and, where it applies, an option of `charlm compare-cells`. "
        "A resumed run keeps its settings, except those marked *can change*.",
    ]
    for panel, rows in panels.items():
        parts += [f"## {panel}", "\n".join([TABLE_HEAD, *rows])]
    return "\n\n".join(parts)


def settings_row(name: str) -> str:
    """Return the row of a setting."""
    metadata = option_metadata(name)
    spellings = ", ".join(f"`{word}`" for word in (option_name(name), *metadata.aliases))
    default = getattr(Config(), name)
    shown = metadata.default or (f"`{default}`" if default not in ("", False) else "off")
    note = " *Can change.*" if metadata.can_change else ""
    return f"| {spellings} | {value_text(name)} | {shown} | {escape(metadata.help)}{note} |"


def value_text(name: str) -> str:
    """Return the values that a setting accepts, in words."""
    kind = get_type_hints(Config)[name]
    metadata = option_metadata(name)
    if (choices := get_args(kind)) and all(isinstance(choice, str) for choice in choices):
        return ", ".join(f"`{choice}`" for choice in choices)
    if kind is bool:
        return "switch"
    if metadata.metavar:
        return escape(metadata.metavar)
    word = {int: "integer", float: "number", str: "text"}[kind]
    return word + limits(name)


def limits(name: str) -> str:
    """Return the range of a number, as ", 0 to 1000"."""
    field = {field.name: field for field in msgspec.structs.fields(Config)}[name]
    kind = msgspec.inspect.type_info(field.type)
    while isinstance(kind, msgspec.inspect.Metadata):
        kind = kind.type
    low = getattr(kind, "ge", None)
    low = low if low is not None else getattr(kind, "gt", None)
    high = getattr(kind, "le", None)
    high = high if high is not None else getattr(kind, "lt", None)
    return f", {low:g} to {high:g}" if low is not None and high is not None else ""


def escape(text: str) -> str:
    """Return text that can stand in a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def exit_codes_page() -> str:
    """Return the table of exit codes."""
    rows = [
        f"| {code} | `{name}` | {meaning[0].upper()}{meaning[1:]}. |"
        for code, (name, meaning) in EXIT_CODES.items()
    ]
    return "\n\n".join(
        [
            "# Exit codes",
            "Every command of charlm ends with one of these codes; `charlm exit-codes` lists them. "
            "An error is one line on stderr, with its cause and what to try. With `--json` it is "
            "also one JSON object on stdout: `error` has the name as `code`, and `exit_code` and "
            "`message`. The line on stderr stays.",
            "\n".join(["| code | name | meaning |", "|---|---|---|", *rows]),
        ]
    )
