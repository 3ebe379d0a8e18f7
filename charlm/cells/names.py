"""Names of the built-in cells and parsing of custom cells, without importing torch."""

from pathlib import Path

from charlm.errors import ConfigError
from charlm.registry import unknown_name_error

# One file a cell, named like it: so the zoo can be listed without loading torch.
INFRASTRUCTURE = {"base", "loader", "names", "source_listing"}  # modules that are no cell
CELL_NAMES = sorted(
    file.stem.replace("_", "-")
    for file in Path(__file__).parent.glob("*.py")
    if file.stem not in {"__init__", *INFRASTRUCTURE}
)


def parse_custom_cell(cell: str) -> tuple[Path, str] | None:
    """FILE.py:CLASS, a cell of the person's own -> the file and the class; None: one of ours."""
    if cell in CELL_NAMES:
        return None
    if ":" not in cell and not cell.endswith(".py"):
        raise unknown_name_error("cell", cell, CELL_NAMES)
    file, _, kind = cell.rpartition(":")
    if not (file.endswith(".py") and kind.isidentifier()):
        raise ConfigError(
            f"--cell {cell}: a cell of your own is FILE.py:CLASS, as in cell.py:MyCell"
        )
    return Path(file), kind


def cell_label(cell: str) -> str:
    """What a cell is called in tables and in the names of runs."""
    file, _, kind = cell.rpartition(":")
    return f"{Path(file).stem}.{kind}" if file else cell
