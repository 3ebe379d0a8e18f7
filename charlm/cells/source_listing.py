"""A cell as it is written: read from its file, of which nothing runs."""

import ast
from pathlib import Path
from typing import NamedTuple

from charlm.cells.names import parse_custom_cell
from charlm.errors import ConfigError, DataError, InputNotFoundError


class CellSource(NamedTuple):
    paper: str
    equations: str
    file: Path
    code: str


def read_cell_source(name: str) -> CellSource:
    """Of one of charlm's cells, or of FILE.py:CLASS."""
    named = parse_custom_cell(name)
    ours = Path(__file__).parent / f"{name.replace('-', '_')}.py"
    file, wanted = named or (ours, "")
    try:
        code = file.read_text(encoding="utf-8")
        module = ast.parse(code)
    except OSError as error:
        raise InputNotFoundError(f"{file} cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        raise DataError(f"{file} cannot be read as Python: {error}") from None
    kinds = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    if named and wanted not in kinds:
        raise ConfigError(f"{file} has no class {wanted}; it has {', '.join(kinds) or 'none'}")
    kind = kinds[wanted] if named else next(k for k in kinds.values() if k.decorator_list)
    paper = " ".join((ast.get_docstring(module) or "").split())
    return CellSource(paper, ast.get_docstring(kind) or "", file, code)
