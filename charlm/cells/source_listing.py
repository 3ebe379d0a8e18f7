"""Source listing of a cell: citation, equations and code, read without importing the file."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from charlm.cells.names import cell_file, is_package_cell, package_cell, parse_custom_cell
from charlm.errors import ConfigError, DataError, InputNotFoundError


class CellSource(NamedTuple):
    """Source of a cell: its citation, equations and code."""

    citation: str
    equations: str
    file: Path
    code: str


def read_cell_source(name: str) -> CellSource:
    """Return the source of a built-in cell, or of FILE.py:CLASS; nothing of it is executed.

    Raises:
        InputNotFoundError: The file cannot be read.
        DataError: The file is not Python.
        ConfigError: The file has no such class.
    """
    custom = package_cell(name) if is_package_cell(name) else parse_custom_cell(name)
    file, class_name = custom or (cell_file(name), "")
    try:
        code = file.read_text(encoding="utf-8")
        module = ast.parse(code)
    except OSError as error:
        raise InputNotFoundError(f"cannot read {file}: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        raise DataError(f"cannot read {file} as Python: {error}") from None
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    if custom and class_name not in classes:
        available = ", ".join(classes) or "none"
        raise ConfigError(f"cannot find the class {class_name}: {file} defines {available}")
    node = classes[class_name] if custom else _registered_class(classes.values(), name)
    if is_package_cell(name):  # its docstring is in another markup
        citation, code = _describe_foreign(name, node), _code_without_docstring(node, code)
        return CellSource(citation, "", file, code)
    citation = (ast.get_docstring(module) or "").partition("\n\n")[0]
    equations = ast.get_docstring(node) or ""
    if source := re.search(r"^Source: (.+?)(?:\n\n|\Z)", equations, re.M | re.S):
        citation = source[1]  # one of several cells of a file
        equations = equations.replace(source[0], "").rstrip()
    if custom:
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        code = "\n".join(code.splitlines()[first - 1 : node.end_lineno]) + "\n"
    return CellSource(" ".join(citation.split()), equations, file, code)


def _describe_foreign(name: str, node: ast.ClassDef) -> str:
    """Return the first sentence of a package's docstring and its link, as plain text."""
    docstring = ast.get_docstring(node) or ""
    sentence = " ".join(docstring.partition("\n\n")[0].split())
    link = re.search(r"<(https?://[^>\s]+)>", docstring)
    return f"{name}: {sentence} {link[1] if link else ''}".rstrip()


def _code_without_docstring(node: ast.ClassDef, code: str) -> str:
    """Return the lines of a class but those of its docstring; code: of the file."""
    lines = code.splitlines()
    first, doc = node.lineno - 1, node.body[0]
    if ast.get_docstring(node) is None or doc.end_lineno is None:
        return "\n".join(lines[first : node.end_lineno]) + "\n"
    kept = [*lines[first : doc.lineno - 1], *lines[doc.end_lineno : node.end_lineno]]
    return "\n".join(kept) + "\n"


def _registered_class(classes: Iterable[ast.ClassDef], name: str) -> ast.ClassDef:
    """Return the class that is registered under this name."""
    decorator = ast.dump(ast.parse(f"register_cell({name!r})", mode="eval").body)
    return next(node for node in classes if decorator in map(ast.dump, node.decorator_list))
