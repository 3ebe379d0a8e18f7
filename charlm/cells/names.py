"""Names of the built-in cells, of custom ones and of a package's, without importing torch."""

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from charlm.errors import ConfigError, InvalidValueError
from charlm.registry import UnknownNameError, nearest_names, unknown_name_error

INFRASTRUCTURE = {  # modules that define no cell
    *("base", "linear_cell", "loader", "lstm_variant", "names", "papers", "products"),
    *("recorded_names", "source_listing", "delta_cell", "matrix_memory", "package_cells"),
}
FILE_OF = dict.fromkeys(("gla", "hgrn2", "mamba2", "retnet"), "gated_linear_attention")
PACKAGE = "torchrecurrent"  # whose cells are called torchrecurrent:NAS
CELL_LISTING = f"charlm cells for a list, {PACKAGE}:NAME or FILE.py:CLASS"
REGISTERED_NAMES: list[str] = []  # cells that this process registered besides
# One file per cell, with its name, or one of `FILE_OF`: so they are listed without importing torch.
CELL_NAMES = sorted(
    {
        file.stem.replace("_", "-")
        for file in Path(__file__).parent.glob("*.py")
        if file.stem not in {"__init__", *INFRASTRUCTURE, *FILE_OF.values()}
    }
    | set(FILE_OF)
)


def cell_file(name: str) -> Path:
    """Return the file of a built-in cell."""
    return Path(__file__).parent / f"{FILE_OF.get(name, name.replace('-', '_'))}.py"


def parse_custom_cell(cell: str) -> tuple[Path, str] | None:
    """Return file and class of a custom cell FILE.py:CLASS; None for another cell.

    Whether a cell of a package is installed is found out when it is used: the settings of a run
    can be read without it.

    Raises:
        InvalidValueError: It is neither a known name nor FILE.py:CLASS.
    """
    if cell in CELL_NAMES or cell in REGISTERED_NAMES:
        return None
    if is_package_cell(cell):
        if package_classes():
            package_cell(cell)
        return None
    if ":" not in cell and not cell.endswith(".py"):
        known = [*CELL_NAMES, *REGISTERED_NAMES]
        if foreign := {name.lower(): name for name in package_classes()}.get(cell.lower()):
            raise UnknownNameError(
                f"unknown cell {cell!r}; did you mean {PACKAGE}:{foreign}? Try {CELL_LISTING}"
            )
        raise unknown_name_error("cell", cell, known, CELL_LISTING)
    file, _, class_name = cell.rpartition(":")
    if not (file.endswith(".py") and class_name.isidentifier()):
        names = " or ".join(f"{cell}:{name}" for name in _class_names(cell)) or "cell.py:MyCell"
        raise InvalidValueError(f"cannot use the cell {cell}: it is not FILE.py:CLASS. Try {names}")
    return Path(file), class_name


def is_package_cell(cell: str) -> bool:
    """Return whether a cell is called as those of a package are, such as torchrecurrent:NAS."""
    return cell.startswith(f"{PACKAGE}:")


def package_cell(cell: str) -> tuple[Path, str]:
    """Return file and class of a package's cell; nothing of the package is executed.

    Raises:
        ConfigError: The package is not installed.
        InvalidValueError: It has no such cell.
    """
    name, classes = cell.partition(":")[2], package_classes()
    if not classes:
        raise ConfigError(
            f"cannot use the cell {cell}: the package {PACKAGE} is not installed. "
            "Try pip install 'charlm[zoo]'"
        )
    if name not in classes:
        near = " or ".join(f"{PACKAGE}:{known}" for known in nearest_names(name, classes))
        hint = f"; did you mean {near}?" if near else "."
        raise InvalidValueError(f"unknown cell {cell!r}{hint} Try charlm cells for a list")
    return classes[name], f"{name}Cell"


@cache
def package_classes() -> dict[str, Path]:
    """Return name -> file of the cells of the package; {} if it is not installed."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return {}
    package = Path(spec.origin)
    exported = set(re.findall(r"(\w+)Cell\b", package.read_text(encoding="utf-8")))
    classes = {
        name: file
        for file in (package.parent / "cells").glob("*_cell.py")
        for name in re.findall(r"^class (\w+)Cell\b", file.read_text(encoding="utf-8"), re.M)
    }
    return {name: classes[name] for name in sorted(classes, key=str.lower) if name in exported}


def _class_names(file: str) -> list[str]:
    """Return the classes that a Python file defines, without executing it; [] if it is none."""
    try:
        module = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    return [node.name for node in module.body if isinstance(node, ast.ClassDef)]


def cell_label(cell: str) -> str:
    """Return the name of a cell in tables and in names of runs."""
    file, _, class_name = cell.rpartition(":")
    return f"{Path(file).stem}.{class_name}" if file else cell
