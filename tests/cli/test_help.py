"""Tests of --help: size of the pages, examples, groups of commands, widths, plain text."""

import re
import shlex
from collections.abc import Iterator
from typing import Any, get_type_hints

import pytest
import typer
from conftest import charlm, command, on_terminal
from typer.core import TyperOption

from charlm.cli import help as pages
from charlm.cli.main import app
from charlm.config import TEXT_ONLY_FIELDS, Config, option_metadata, option_name
from charlm.settings.options import MACHINE

FIELDS = get_type_hints(Config)
REFERRING = [
    "charlm tasks train",
    "charlm tasks compare",
    "charlm compare-cells",
    "charlm config show",
]
LIMITS = {"": 60, "train": 90, "compare-cells": 90, "tasks compare": 60, "probe": 40, "sample": 45}


def walk(group: Any, path: str = "charlm") -> Iterator[tuple[str, Any]]:
    """Yield the path of every command, and the command."""
    yield path, group
    for name, child in getattr(group, "commands", {}).items():
        yield from walk(child, f"{path} {name}")


COMMANDS = dict(walk(typer.main.get_command(app)))


def page(path: str, width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the page of help of a command."""
    monkeypatch.setenv("COLUMNS", str(width))
    context: Any = None
    names = path.split()
    for number, name in enumerate(names, 1):
        chosen = COMMANDS[" ".join(names[:number])]
        context = chosen.make_context(name, [], parent=context, resilient_parsing=True)
    return pages.help_page(COMMANDS[path], context)


@pytest.mark.parametrize("path", COMMANDS)
def test_page_fits_any_width(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for width in (40, 59, 80, 120):
        text = page(path, width, monkeypatch)
        assert "\x1b" not in text and "\\[" not in text and "<" not in text, text
        for line in text.splitlines():
            is_verbatim = line.startswith(("  $ ", "Usage: ")) or " " not in line.strip()
            assert len(line) <= width or is_verbatim or width < 60, line


@pytest.mark.parametrize("path", COMMANDS)
def test_examples_are_lines_that_the_parser_accepts(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page(path, 80, monkeypatch)
    examples = re.findall(r"^  \$ (.*)$", text, re.M)
    assert examples and "\nExamples\n" in text
    block = text.split("\nExamples\n")[1].split("\n\n")[0].splitlines()
    assert all(line.startswith("  $ ") and len(line) <= 80 for line in block), block
    for example in examples:
        words = shlex.split(example.split("| ")[-1], comments=True)
        chosen, depth = COMMANDS["charlm"], 1
        while depth < len(words) and words[depth] in getattr(chosen, "commands", {}):
            chosen, depth = chosen.commands[words[depth]], depth + 1
        known = {spelling for p in chosen.params for spelling in (*p.opts, *p.secondary_opts)}
        for word in words[depth:]:
            assert not word.startswith("--") or word.split("=")[0] in known, example


def test_pages_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    for path, limit in LIMITS.items():
        text = page(f"charlm {path}".strip(), 80, monkeypatch)
        assert len(text.splitlines()) <= limit, path


def test_first_page_lists_every_command_once_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    text = page("charlm", 80, monkeypatch)
    headings = [heading for heading in pages.GROUPS if f"\n{heading}\n" in text]
    assert headings == list(pages.GROUPS)
    root = typer.main.get_command(app)
    assert set(pages.COMMANDS) == set(root.commands)  # type: ignore[attr-defined]
    for name in COMMANDS["charlm"].commands:
        assert len(re.findall(rf"^  {name} ", text, re.M)) == 1, name
    assert "charlm exit-codes" in text


def test_every_option_is_on_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    for path, chosen in COMMANDS.items():
        text = page(path, 80, monkeypatch)
        named, excluded = promised(text)
        for option in chosen.params:
            if isinstance(option, TyperOption) and not option.hidden:
                spelled = named & set(option.opts) or option.opts[0].removeprefix("--") in text
                is_referred = "every option of charlm train" in text
                assert (spelled or is_referred) and not excluded & set(option.opts), option
                assert option.help and option.help[0].isalnum(), option


def promised(text: str) -> tuple[set[str], set[str]]:
    """Return the options that a page names, and those that it says a command does not have."""
    before, _, after = " ".join(text.split()).partition(", except ")
    return (
        set(re.findall(r"--[a-z0-9-]+", before)),
        set(re.findall(r"--[a-z0-9-]+", after)),
    )


@pytest.mark.parametrize("path", REFERRING)
def test_page_promises_no_option_that_the_command_refuses(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page(path, 80, monkeypatch)
    named, excluded = promised(text)
    accepted = {spelling for option in COMMANDS[path].params for spelling in option.opts}
    of_train = {option_name(name) for name in FIELDS if option_metadata(name).panel != MACHINE}
    if "every option" in text:
        assert excluded == of_train - accepted
    else:
        assert not named & (of_train - accepted)
    if "tasks" in path:
        assert not named & {option_name(name) for name in TEXT_ONLY_FIELDS}


def test_choices_and_defaults_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    train = page("charlm train", 100, monkeypatch)
    assert "--dtype fp32|bf16" in train and "--[no-]tie-weights" in train
    assert re.search(
        r"--lr-schedule NAME .*wsd .*linear or\s+cosine\. \[default: wsd\]", train, re.S
    )
    assert "[default: 0.8]" in train and "--learning-rate, --lr FLOAT" in train
    compare = page("charlm compare-cells", 100, monkeypatch)
    assert "-j, --jobs N" in compare and "[default: on]" in compare


def test_headings_are_bold_on_a_capable_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    words = command("cells", "list", "--help")
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "xterm")):
        with monkeypatch.context() as context:
            context.setenv(name, value)
            context.delenv("CI", raising=False)
            shown, code = on_terminal(["env", f"{name}={value}", *words])
            assert code == 0 and ("\x1b[1mExamples" in shown) == (value == "xterm")


def test_help_is_the_same_through_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for words in (["--help"], ["train", "-h"], ["cells", "show", "--help"]):
        done = charlm(*words)
        assert done.returncode == 0 and done.stderr == b""
        path = " ".join(["charlm", *words[:-1]])
        if path in ("charlm", "charlm train"):
            assert done.stdout.decode().rstrip("\n") == page(path, 80, monkeypatch)
    alone = charlm()
    assert alone.returncode == 2 and alone.stdout.startswith(b"Usage: charlm [OPTIONS] COMMAND")


def test_every_command_has_json_and_those_with_progress_have_quiet() -> None:
    leaves = {p: c for p, c in COMMANDS.items() if not getattr(c, "commands", None)}
    options = {path: {option.name for option in c.params} for path, c in leaves.items()}
    assert [path for path, names in options.items() if "json" not in names] == []
    with_progress = {"train", "eval", "sample", "inspect", "probe", "compare-cells"}
    with_progress |= {"tasks train", "tasks compare", "corpora get"}
    assert {path for path, names in options.items() if "quiet" in names} >= {
        f"charlm {name}" for name in with_progress
    }
