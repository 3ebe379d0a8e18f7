"""Architecture: ranks of packages, no circles, torch-free modules, and where libraries are used."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import charlm

PACKAGE = Path(charlm.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# A package imports packages of lower rank, and itself.
RANKS = {
    **dict.fromkeys(("errors", "seeding"), 0),
    **dict.fromkeys(("registry", "storage"), 1),
    **dict.fromkeys(("cells", "console", "settings"), 2),
    **dict.fromkeys(("config", "kernels"), 3),
    **dict.fromkeys(("results", "recipes", "presets"), 4),
    **dict.fromkeys(("progress", "config_file"), 5),
    **dict.fromkeys(("execution", "models", "data", "reporting"), 6),
    **dict.fromkeys(("runs",), 7),
    **dict.fromkeys(("evaluation",), 8),
    **dict.fromkeys(("training",), 9),
    **dict.fromkeys(("compression", "exporting", "inspection", "probes", "tasks", "testing"), 10),
    **dict.fromkeys(("comparison",), 11),
    **dict.fromkeys(("reproduction",), 12),
    **dict.fromkeys(("cli",), 13),
    **dict.fromkeys(("__main__",), 14),
}
# What these import of charlm, besides themselves.
ONLY = {
    "cells": {"cells", "registry", "errors"},
    "storage": {"storage", "errors"},
    "registry": {"errors"},
    "reporting": {"reporting", "results", "progress", "config", "console", "cells.names"}
    | {"registry", "errors", "config_file", "settings.values"}
    | {"cells.papers.catalog", "cells.papers.paper"},
}
TORCH_FREE = ["results", "reporting", "progress", "config", "cells.names", "console", "storage"]
TORCH_FREE += ["cells.papers.catalog"]
TORCH_FREE += ["recipes", "settings", "presets", "config_file", "runs.listing", "runs.cleanup"]
# Third-party libraries, and the only packages that import them.
LIBRARIES = {
    "rich": {"reporting"},
    "tqdm": {"reporting"},
    "matplotlib": {"reporting"},
    "jinja2": {"reporting"},
    "typer": {"cli"},
    "ray": {"execution"},
    "tensorboard": {"runs"},
    "constriction": {"compression"},
    "pooch": {"data"},
    "requests": {"data"},
}


class Import(NamedTuple):
    """An imported module."""

    name: str  # charlm's own without "charlm."
    is_ours: bool


def module_name(file: Path) -> str:
    """Return the dotted name without `charlm.`; "" is charlm/__init__.py."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    return {module_name(file): file for file in FILES}


def package_of(module: str) -> str:
    return module.split(".")[0]


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes, but for those that only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if not is_type_checking(child):
            yield child
            yield from walk(child)


def imported_module(name: str, parent: str) -> str:
    """Return the module that `from parent import ...` imports, given the whole name."""
    if name.removeprefix("charlm.") in modules():
        return name
    if parent != "charlm":
        return parent
    public = name.removeprefix("charlm.")
    if public == "__version__":
        return "charlm"
    return f"charlm.{charlm._MODULES[public]}"  # a public name: imported when it is used


@cache
def imports(file: Path, *, with_types: bool = False) -> list[Import]:
    """Return everything that a file imports, also inside functions.

    Imports that only type checkers see are left out, unless `with_types`.
    """
    result = []
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree) if with_types else walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file} has a relative import"
            # `from charlm.data import corpus` imports the module charlm.data.corpus.
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [imported_module(name, node.module) for name in inner]
        else:
            continue
        for name in names:
            if name == "charlm" or name.startswith("charlm."):
                result.append(Import(name.removeprefix("charlm").removeprefix("."), True))
            else:
                result.append(Import(name, False))
    return result


def own_imports(file: Path, *, with_types: bool = False) -> set[str]:
    return {name for name, is_ours in imports(file, with_types=with_types) if is_ours and name}


def test_every_package_has_a_rank() -> None:
    assert {package_of(name) for name in modules() if name} == set(RANKS)


@pytest.mark.parametrize("package", RANKS)
def test_packages_import_only_lower_ranks(package: str) -> None:
    for name, file in modules().items():
        if package_of(name) != package:
            continue
        for other in own_imports(file):
            if package_of(other) != package:
                assert RANKS[package_of(other)] < RANKS[package], f"{name} imports {other}"


@pytest.mark.parametrize("package", ONLY)
def test_restricted_packages_import_only_what_is_listed(package: str) -> None:
    for name, file in modules().items():
        if package_of(name) == package:
            for other in own_imports(file):
                assert {other, package_of(other)} & ONLY[package], f"{name} imports {other}"


def test_modules_do_not_import_each_other_in_circles() -> None:
    graph = {
        name: own_imports(file, with_types=name != "") & modules().keys()  # charlm names all
        for name, file in modules().items()
    }
    finished: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in finished:
            for other in sorted(graph[name]):
                visit(other, (*path, name))
            finished.add(name)

    for name in graph:
        visit(name, ())


INFRASTRUCTURE = {
    "cells": {
        *("base", "linear_cell", "loader", "lstm_variant", "names", "papers", "products"),
        *("recorded_names", "source_listing", "delta_cell", "matrix_memory"),
    },
    "kernels": {"registry", "loop"},
    "probes": {
        *(
            "base",
            "runner",
            "batch",
            "cache",
            "estimates",
            "order_reach",
            "places",
            "plan",
            "rare_words",
            "linear_readout",
            "state_size",
        ),
        *("dry_run", "true_context", "unit_sums", "windows"),
    },
    "tasks": {
        *("base", "curriculum", "estimates", "formal_language", "lengths", "level_tests"),
        "scoring",
    },
}


@pytest.mark.parametrize("package", ["cells", "kernels", "probes", "tasks"])
def test_siblings_do_not_import_each_other(package: str) -> None:
    names = {file.stem for file in (PACKAGE / package).glob("[!_]*.py")}
    siblings = names - INFRASTRUCTURE[package]
    assert siblings and names > siblings
    for name in siblings:
        for other in own_imports(PACKAGE / package / f"{name}.py"):
            assert other not in {f"{package}.{sibling}" for sibling in siblings}, name


def test_package_init_files_hold_a_docstring_only() -> None:
    for file in PACKAGE.glob("*/**/__init__.py"):
        assert [type(node) for node in ast.parse(file.read_text()).body] == [ast.Expr], file


def test_nothing_is_pickled_or_evaluated() -> None:
    forbidden = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
    for file in FILES:
        assert not {name.split(".")[0] for name, _ in imports(file)} & forbidden, file
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "torch.load", "torch.save"), file


@pytest.mark.parametrize("library", LIBRARIES)
def test_libraries_are_imported_only_where_they_belong(library: str) -> None:
    for name, file in modules().items():
        if package_of(name) not in LIBRARIES[library]:
            third_party = {other.split(".")[0] for other, is_ours in imports(file) if not is_ours}
            assert library not in third_party, name


def test_only_console_prints() -> None:
    for name, file in modules().items():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
                assert name == "console", name


def test_only_cli_and_reporting_write_to_the_console() -> None:
    for name, file in modules().items():
        if package_of(name) not in ("cli", "reporting", "__main__"):
            assert "console" not in own_imports(file), name


def python(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_torch_free_packages_do_not_import_torch() -> None:
    names = [
        f"charlm.{name}"
        for name in modules()
        if name and any(name == free or name.startswith(f"{free}.") for free in TORCH_FREE)
    ]
    assert len(names) > 30
    code = f"import sys\nfor name in {names}: __import__(name)\nassert 'torch' not in sys.modules"
    done = python(code)
    assert done.returncode == 0, done.stderr


def test_importing_charlm_or_cli_does_not_import_torch() -> None:
    done = python(
        "import sys, charlm, charlm.cli.main\n"
        "charlm.Config, dir(charlm)\n"
        "assert not {'torch', 'numpy', 'matplotlib', 'jinja2'} & {*sys.modules}"
    )
    assert done.returncode == 0, done.stderr


def loaded_modules(*commands: Sequence[str]) -> set[str]:
    """Return the modules that one process has imported after all of these commands of charlm."""
    code = (
        "import sys; from charlm.__main__ import run\n"
        f"for words in {[list(words) for words in commands]!r}:\n"
        "    sys.argv = ['charlm', *words]\n"
        "    run()\n"
        "print('', *sys.modules, sep='\\n@', file=sys.stderr)"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    return {line[1:] for line in done.stderr.splitlines() if line.startswith("@")}


@pytest.mark.parametrize(
    "words",
    [["--help"], ["train", "--help"], ["compare-cells", "-h"], ["cells", "-h"], ["--version"]]
    + [["cells", "show", "lstm"], ["cells", "check", "lsmt"], ["train", "--cell", "cell.txt:Cell"]]
    + [["train", "--no-such"], ["train", "--hidden-size", "many"], ["train", "--hidden-size", "0"]],
    ids=" ".join,
)
def test_help_and_usage_errors_do_not_import_torch(words: list[str]) -> None:
    assert not loaded_modules(words) & {"torch", "numpy"}


@pytest.mark.slow
def test_training_and_scoring_do_not_import_torch_compiler(tmp_path: Path, book: Path) -> None:
    """It would take two seconds of each process, and nothing of it is used."""
    run = str(tmp_path / "r")
    options = ["--run", run, "--max-steps", "2", "--hidden-size", "8"]
    loaded = loaded_modules(["train", str(book), *options], ["sample", run], ["eval", run])
    assert Path(run, "report.json").exists() and "torch" in loaded
    assert "torch._dynamo" not in loaded


@pytest.mark.slow
def test_help_and_usage_errors_answer_at_once() -> None:
    """At most 0.35 s of CPU, the best of several tries, since other processes only add to it.

    On a slow or busy machine: at most 3.5 times what the libraries that print help take.
    """

    def cpu_seconds(words: Sequence[str]) -> float:
        before = os.times()
        subprocess.run([sys.executable, *words], capture_output=True, check=False)
        after = os.times()
        children = after.children_user + after.children_system
        return children - before.children_user - before.children_system

    libraries = ("-c", "import typer, typer.main, rich.console, rich.markdown")
    commands = [
        ("-m", "charlm", *words) for words in (["--help"], ["train", "--help"], ["train", "--x"])
    ]
    tries = []
    for _ in range(7):
        tries.append([cpu_seconds(words) for words in (libraries, *commands)])
        baseline, *best = (min(column) for column in zip(*tries, strict=True))
        if max(best) < max(0.35, 3.5 * baseline):
            return
    raise AssertionError(tries)
