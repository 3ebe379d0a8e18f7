"""Documentation agrees with the code: links, commands, options, tables and generated pages."""

import contextlib
import importlib
import importlib.util
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
import typer  # noqa: TID251
from typer.exceptions import TyperException  # noqa: TID251

import charlm
from charlm.cells.names import CELL_NAMES
from charlm.cli.main import app
from charlm.config import Config, option_name
from charlm.errors import InputNotFoundError
from charlm.probes.base import PROBES
from charlm.results import comparison, timing
from charlm.storage.json_files import read_sealed_json, seal_json
from charlm.tasks.base import TASKS

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def load_script(name: str) -> ModuleType:
    """Import a file of scripts/, which may import others there."""
    if str(ROOT / "scripts") not in sys.path:
        sys.path.insert(0, str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def documented_commands() -> list[str]:
    """Return every charlm command in the code blocks of README and docs, on one line each."""
    commands = []
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.S | re.M)
        lines = [
            line for kind, block in blocks if kind in ("", "bash") for line in block.splitlines()
        ]
        lines += [line for line in text.splitlines() if line.startswith("    ")]
        for line in lines:
            if match := re.match(r"(?:.* [|-]+ )?(charlm .*)", line.strip()):
                commands.append(" ".join(match[1].split()))
    return list(dict.fromkeys(commands))


# The reference; `make lint` checks that it and all generated parts are up to date


def test_reference_refuses_stale_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = load_script("reference")
    monkeypatch.setattr(reference, "OUTPUT", tmp_path)
    monkeypatch.setattr(
        reference, "PAGES", {"cells.md": lambda: "# C\n\ntext", "x.md": lambda: "# X\n\ntext"}
    )
    assert reference.main(["--check"]) == 1
    assert "cells.md, x.md. Run `make reference`" in capsys.readouterr().err
    assert reference.main([]) == 0 and reference.main(["--check"]) == 0
    (tmp_path / "x.md").write_text("an older one")
    assert reference.main(["--check"]) == 1


class Undocumented(msgspec.Struct):
    """A struct with keys of known and unknown meaning."""

    hidden_size: int
    plain: int  # beside it
    bare: int


def test_reference_refuses_key_without_meaning() -> None:
    reference = load_script("reference_files")
    with pytest.raises(LookupError, match=r"Undocumented\.bare$") as error:
        reference.describe_struct(Undocumented)
    assert "plain" not in str(error.value) and "hidden_size" not in str(error.value)


def test_reference_has_every_struct_of_results() -> None:
    reference = load_script("reference_files")
    page = (REFERENCE / "files.md").read_text()
    for struct in reference.written_structs():
        assert f"\n### {struct.__name__}\n" in page
        for key in struct.__struct_encode_fields__:
            assert f"| `{key}` |" in page
    assert reference.undocumented() == []


def test_reference_has_every_command_setting_cell_probe_task_and_name() -> None:
    pages = {path.stem: path.read_text() for path in REFERENCE.glob("*.md")}
    for words in load_script("reference_cli").commands():
        assert f"\n## charlm {' '.join(words)}\n" in pages["cli"]
    for field in msgspec.structs.fields(Config):
        assert f"`{option_name(field.name)}`" in pages["settings"]
    for page, names in (("cells", CELL_NAMES), ("probes", PROBES), ("tasks", TASKS)):
        for name in names:
            assert f"\n## {name}\n" in pages[page]
    for name in set(charlm.__all__) - {"__version__"}:
        assert f"\n### {name}\n" in pages["python-api"]


# Commands and links


@pytest.mark.parametrize("command", documented_commands())
def test_documented_command_has_valid_options(command: str) -> None:
    """Parse the command line as charlm does, without running it."""
    with contextlib.suppress(InputNotFoundError):  # runs are looked for once options are read
        parse(typer.main.get_command(app), shlex.split(command, comments=True))


def test_parser_refuses_unknown_option() -> None:
    with pytest.raises(TyperException, match="--no-such-option"):
        parse(typer.main.get_command(app), shlex.split("charlm train --no-such-option"))


def parse(command: Any, words: list[str], parent: Any = None) -> None:
    """Parse the words of a command, and of its subcommand."""
    context = command.make_context(words[0], words[1:], parent=parent)
    rest = [*context._protected_args, *context.args]
    if hasattr(command, "resolve_command") and rest:
        name, subcommand, arguments = command.resolve_command(context, rest)
        parse(subcommand, [name, *arguments], context)


def anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings, as code hosts and the site make them."""
    found: set[str] = set()
    text = re.sub(r"^```.*?^```", "", page, flags=re.S | re.M)
    for heading in re.findall(r"^#+ +(.*?) *#*$", text, re.M):
        plain = re.sub(r"[`*]|\]\([^)]*\)|!?\[", "", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = sum(1 for known in found if re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", known))
        found.add(f"{anchor}-{number}" if number else anchor)
    return found


def broken_links(page: Path) -> list[str]:
    """Return the relative links and anchors of a page that lead nowhere."""
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.S | re.M)
    targets = re.findall(r"\]\(([^)\s]+)[^)]*\)", text) + re.findall(
        r'(?:href|src)="([^"]+)"', text
    )
    broken = []
    for target in targets:
        if re.match(r"\w+:", target):  # of the web
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        is_broken = not file.exists() or (anchor and anchor not in anchors(file.read_text()))
        broken += [target] * bool(is_broken)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_anchors_resolve(page: Path) -> None:
    assert not broken_links(page)


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# One: `two` & three\n\n## Twice\n\n## Twice\n")
    page = tmp_path / "page.md"
    links = ["other.md", "other.md#one-two--three", "other.md#twice-1", "#here", "https://x.y/z"]
    bad = ["missing.md", "other.md#four", "other.md#twice-2", "#there", "missing.svg"]
    page.write_text("# Here\n" + "".join(f"[a]({link}) ![b]({link})\n" for link in links + bad))
    assert broken_links(page) == [link for link in bad for _ in range(2)]


def test_every_figure_is_shown_by_a_page() -> None:
    shown = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", page.read_text())
    }
    assert set((ROOT / "docs").rglob("*.svg")) <= shown


def test_navigation_of_the_site_has_every_page() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in sorted((ROOT / "docs").rglob("*.md")):
        assert f" {page.relative_to(ROOT / 'docs')}\n" in navigation, page


def test_makefile_names_tests_and_commands_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    for path, expression in re.findall(r"pytest (tests/\S+)(?: -k (\w+))?", makefile):
        assert expression in (ROOT / path).read_text(), (path, expression)
    commands = re.findall(r"^\t\$\(BIN\)/(charlm .*)", makefile, re.M)
    assert len(commands) >= 3
    for command in commands:
        parse(typer.main.get_command(app), shlex.split(command))


# Design


def test_design_has_ranks_of_architecture_test() -> None:
    ranks = importlib.import_module("test_architecture").RANKS
    page = (ROOT / "docs" / "explanation" / "design.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (.*?) \|$", page, re.M)
    documented = {name: int(rank) for rank, cell in rows for name in re.findall(r"`(\w+)`", cell)}
    assert documented == ranks


def test_design_names_files_that_exist() -> None:
    page = (ROOT / "docs" / "explanation" / "design.md").read_text()
    for name in re.findall(r"`(\w+/(?:\w+/)*(?:\w+\.py)?)`", page):
        assert (ROOT / "charlm" / name).exists() or (ROOT / name).exists(), name


# The example comparison

EXAMPLE = ROOT / "docs" / "explanation" / "comparison"


def test_example_report_has_current_format() -> None:
    for name, struct in (
        ("report", comparison.ComparisonReport),
        ("timing", timing.TimingReport),
    ):
        data = (EXAMPLE / f"{name}.json").read_bytes()
        assert data == seal_json(read_sealed_json(EXAMPLE / f"{name}.json", struct))


@pytest.mark.slow
def test_example_figures_have_names_that_the_script_writes(tmp_path: Path) -> None:
    written = load_script("figures").write_figures(EXAMPLE / "report.json", tmp_path)
    assert {path.name for path in EXAMPLE.glob("*.svg")} <= {path.name for path in written}
