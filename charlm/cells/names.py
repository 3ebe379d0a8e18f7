"""Names of the built-in cells and parsing of custom cells, without importing torch."""

import ast
from pathlib import Path

from charlm.errors import InvalidValueError
from charlm.registry import unknown_name_error

INFRASTRUCTURE = {  # modules that define no cell
    *("base", "linear_cell", "loader", "lstm_variant", "names", "papers", "products"),
    *("recorded_names", "source_listing", "delta_cell", "matrix_memory"),
}
FILE_OF = dict.fromkeys(("gla", "hgrn2", "mamba2", "retnet"), "gated_linear_attention")
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
    """Return file and class of a custom cell FILE.py:CLASS; None for a registered cell.

    Raises:
        InvalidValueError: It is neither a known name nor FILE.py:CLASS.
    """
    if cell in CELL_NAMES or cell in REGISTERED_NAMES:
        return None
    if ":" not in cell and not cell.endswith(".py"):
        raise unknown_name_error("cell", cell, CELL_NAMES)
    file, _, class_name = cell.rpartition(":")
    if not (file.endswith(".py") and class_name.isidentifier()):
        names = " or ".join(f"{cell}:{name}" for name in _class_names(cell)) or "cell.py:MyCell"
        raise InvalidValueError(f"cannot use the cell {cell}: it is not FILE.py:CLASS. Try {names}")
    return Path(file), class_name


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
