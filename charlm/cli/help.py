"""Pages of --help: description, examples, and options in two columns of plain text."""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from typer.core import TyperArgument, TyperGroup, TyperOption

from charlm.settings.options import MODEL, TEXT, TRAINING

TRAIN, UNDERSTAND, COMPARE = "Train and use", "Understand", "Compare"
CELLS_AND_TASKS, HOUSE = "Cells and tasks", "Keeping house"
GROUPS = (TRAIN, UNDERSTAND, COMPARE, CELLS_AND_TASKS, HOUSE)  # of commands, in this order
# Commands of the whole program, as --help lists them within their groups.
COMMANDS = (
    *("train", "sample", "eval", "compress", "decompress", "export", "inspect", "diff", "probe"),
    *("compare-cells", "reproduce", "report", "cells", "tasks", "corpora", "config", "runs"),
    *("metrics", "verify", "clean", "doctor", "exit-codes"),
)
# Panel of options that a command accepts and that the page of `charlm train` describes.
BY_REFERENCE = "see charlm train"
MAX_EXCEPTIONS = 5  # options of `charlm train` that a page names as missing
CONFIG_PANELS = (TEXT, MODEL, TRAINING)
LABEL_WIDTH = 22  # of the left column; a longer label moves the first line of its text
MIN_WIDTH, MAX_WIDTH = 40, 100
NARROW = 60  # below this width, texts stand below their labels
METAVARS: dict[Any, str] = {int: "N", float: "FLOAT", str: "TEXT", Path: "PATH"}


def help_page(command: Any, context: Any) -> str:
    """Return the page of a command, as wide as the terminal."""
    columns = shutil.get_terminal_size((80, 24)).columns
    width = max(MIN_WIDTH, min(columns, MAX_WIDTH))
    parameters = command.get_params(context)
    lines = [f"Usage: {usage(context.command_path, parameters, isinstance(command, TyperGroup))}"]
    lines += ["", *description(command.help or "", width)]
    for heading, rows in sections(command, context, parameters):
        lines += ["", bold(heading)]
        for label, text in rows:
            lines += two_columns(label, text, width)
    if text := command.epilog or reference(parameters, context):
        lines += ["", *wrap(text, width)]
    return "\n".join(lines)


def usage(path: str, parameters: Sequence[Any], is_group: bool) -> str:
    """Return the usage line, such as `charlm train [OPTIONS] [TEXT]...`."""
    words = [path, "[OPTIONS]"]
    for argument in parameters:
        if isinstance(argument, TyperArgument):
            name = argument_label(argument)
            name = name if argument.required else f"[{name}]"
            words.append(name if argument.nargs == 1 else f"{name}...")
    return " ".join([*words, *(["COMMAND [ARGS]..."] if is_group else [])])


def description(doc: str, width: int) -> Iterator[str]:
    """Yield the lines of a docstring: paragraphs wrapped, examples as they are."""
    for number, paragraph in enumerate(doc.strip().split("\n\n")):
        if number:
            yield ""
        if paragraph.startswith("Examples:\n"):
            heading, examples = paragraph.split("\n", 1)
            yield bold(heading.rstrip(":"))
            yield from textwrap.indent(textwrap.dedent(examples), "  ").splitlines()
        else:
            yield from wrap(paragraph, width)


def summary(doc: str) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join(doc.strip().split("\n\n")[0].split())


def sections(
    command: Any, context: Any, parameters: Sequence[Any]
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield heading, and label and text of each row, of commands, arguments and options."""
    if isinstance(command, TyperGroup):
        yield from command_sections(command, context)
    arguments = [p for p in parameters if isinstance(p, TyperArgument) and p.help]
    first = "Arguments and options" if arguments else "Options"
    panels = {first: [(argument_label(a), option_text(a, context)) for a in arguments]}
    for option in parameters:
        panel = getattr(option, "rich_help_panel", None) or first
        if isinstance(option, TyperOption) and not option.hidden and panel != BY_REFERENCE:
            label, explanation = option_label(option), option_text(option, context)
            panels.setdefault(panel, []).append((label, explanation))
    for heading, rows in panels.items():
        if rows:
            yield heading, rows


def reference(parameters: Sequence[Any], context: Any) -> str:
    """Return a sentence on the options that the page of `charlm train` describes; "" without any.

    It lists them, or those of `charlm train` that the command does not have where they are few.
    """
    accepted = {spelling for parameter in parameters for spelling in parameter.opts}
    referred = [p for p in parameters if getattr(p, "rich_help_panel", None) == BY_REFERENCE]
    if not referred:
        return ""
    train = context.find_root().command.get_command(context, "train")
    others = [
        option
        for option in train.params
        if getattr(option, "rich_help_panel", None) in CONFIG_PANELS
        and not accepted.intersection(option.opts)
    ]
    is_list = len(others) > MAX_EXCEPTIONS
    names = ", ".join(max(option.opts, key=len) for option in (referred if is_list else others))
    if is_list:
        return f"Also, as charlm train --help describes them: {names}."
    panels = f"{', '.join(CONFIG_PANELS[:-1])} and {CONFIG_PANELS[-1]}"
    without = f", except {names}" if names else ""
    return f"Also: every option of charlm train --help under {panels}{without}."


def command_sections(
    group: TyperGroup, context: Any
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield the commands of a group by panel; those of the whole program in its groups."""
    is_root = context.parent is None
    panels: dict[str, list[tuple[str, str]]] = {name: [] for name in GROUPS if is_root}
    names = group.list_commands(context)
    for name in sorted(names, key=COMMANDS.index) if is_root else names:
        command: Any = group.get_command(context, name)
        if not command.hidden:
            panel = command.rich_help_panel or (HOUSE if is_root else "Commands")
            panels.setdefault(panel, []).append((name, summary(command.help or "")))
    yield from ((heading, rows) for heading, rows in panels.items() if rows)


def argument_label(argument: Any) -> str:
    """Return the name of an argument, such as TEXT."""
    return str(argument.metavar or argument.name.upper())


def option_label(option: Any) -> str:
    """Return an option's spellings and metavar, such as `-j, --jobs N`."""
    spellings = sorted(option.opts, key=lambda spelling: spelling.startswith("--"))
    if option.secondary_opts:
        spellings = [spelling.replace("--", "--[no-]", 1) for spelling in spellings]
    label = ", ".join(spellings)
    if option.is_flag:
        return label
    choices = "|".join(choices_of(option))
    metavar = option.metavar or choices or METAVARS.get(option.type_descriptor.annotation, "TEXT")
    if "|" in metavar and len(f"{label} {metavar}") > LABEL_WIDTH:
        metavar = "NAME"  # option_text lists the names
    return f"{label} {metavar}"


def choices_of(option: Any) -> list[str]:
    """Return the values that an option accepts if they are few words, else []."""
    if option.metavar and "|" in option.metavar:
        return option.metavar.split("|")
    return [str(choice) for choice in option.type_descriptor.choices or ()]


def option_text(parameter: Any, context: Any) -> str:
    """Return the help of an option with its choices and its default."""
    text = (parameter.help or "").strip()
    if isinstance(parameter, TyperOption):
        choices = choices_of(parameter)
        is_listed = choices and option_label(parameter).endswith("|".join(choices))
        if not is_listed and not all(choice in text for choice in choices):
            text += f" [one of: {', '.join(choices)}]"
        if parameter.required:
            text += " [required]"
    default = parameter.get_default(context)
    is_float = isinstance(default, float)
    if parameter.show_default and default not in (None, False, "", []):
        shown = "on" if default is True else f"{default:g}" if is_float else str(default)
        text += f" [default: {shown}]"
    return text


def two_columns(label: str, text: str, width: int) -> Iterator[str]:
    """Yield the lines of a row: the label on the left, the wrapped text beside or below it."""
    indent = 6 if width < NARROW else LABEL_WIDTH + 4
    start = f"  {label}" if width < NARROW else f"  {label:<{LABEL_WIDTH}}  "
    if width < NARROW:
        yield start
        start = " " * indent
    joined = " ".join(text.split())
    yield from textwrap.wrap(
        joined,
        width,
        initial_indent=start,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [start.rstrip()]


def wrap(text: str, width: int) -> list[str]:
    """Return a paragraph in lines of this width; words are not broken, nor are defaults."""
    joined = " ".join(text.split())
    return textwrap.wrap(joined, width, break_long_words=False, break_on_hyphens=False)


def bold(text: str) -> str:
    """Return a heading, bold on a terminal that can show it."""
    is_plain = "NO_COLOR" in os.environ or os.environ.get("TERM", "dumb") == "dumb"
    return text if is_plain or not sys.stdout.isatty() else f"\x1b[1m{text}\x1b[0m"
