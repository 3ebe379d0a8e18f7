"""Loader of cells: built-in ones by name, custom ones from FILE.py:CLASS, which executes the file.

Only `load_custom_cell` executes a file, and it is called only with names from the command line. The
cell that a saved run names is looked up, never loaded. An installed package is trusted, if its file
is the one that a run was made with.
"""

import hashlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb
from types import CodeType

from charlm.cells.base import CELLS, Cell, cell_name
from charlm.cells.names import PACKAGE, is_package_cell, package_cell, parse_custom_cell
from charlm.cells.package_cells import make_package_cell
from charlm.errors import ConfigError, DataError, InputNotFoundError

CUSTOM_CELLS: dict[str, tuple[type[Cell], str]] = {}  # FILE.py:CLASS -> class, SHA-256 of the file


class HashedSourceLoader(SourceFileLoader):
    """Execute exactly the bytes that were hashed; no bytecode is read or written."""

    def __init__(self, name: str, path: Path, data: bytes) -> None:
        super().__init__(name, str(path))
        self.data = data

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002
        """Return the compiled bytes."""
        return self.source_to_code(self.data, self.path)


def read_custom_cell(name: str) -> tuple[Path, str, bytes]:
    """Return file, class and the file's content of FILE.py:CLASS."""
    custom = parse_custom_cell(name)
    assert custom is not None, f"{name} is a built-in cell"
    file, class_name = custom
    try:
        return file, class_name, file.read_bytes()
    except OSError as error:
        raise InputNotFoundError(f"cannot read the cell {file}: {error.strerror}") from None


def load_custom_cell(name: str) -> None:
    """Execute the file of FILE.py:CLASS, so that `get_cell` knows the cell.

    Raises:
        InputNotFoundError: The file cannot be read.
        DataError: The file cannot be executed.
        ConfigError: It does not define the class, or the class is not a Cell.
    """
    file, class_name, data = read_custom_cell(name)
    digest = hashlib.sha256(data).hexdigest()
    module_name = f"charlm_cell_{digest[:12]}"
    loader = HashedSourceLoader(module_name, file, data)
    spec = spec_from_file_location(module_name, file, loader=loader)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a custom file may raise anything
        problem = f"{format_exception(error)}{error_line(file, error)}"
        raise DataError(f"cannot load the cell {name}: {problem}") from None
    classes = {key: value for key, value in vars(module).items() if isinstance(value, type)}
    cell_type = classes.get(class_name)
    if cell_type is None:
        own = [key for key, value in classes.items() if value.__module__ == module_name]
        available = ", ".join(own) or "none"
        raise ConfigError(f"cannot find the class {class_name}: {file} defines {available}")
    if not issubclass(cell_type, Cell):
        raise ConfigError(
            f"cannot use {class_name}: it is not a Cell. Try `class {class_name}(Cell)` with "
            "`from charlm.cells.base import Cell`"
        )
    CUSTOM_CELLS[name] = cell_type, digest


def format_exception(error: BaseException) -> str:
    """Return type and text of an exception on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def error_line(file: Path, error: BaseException) -> str:
    """Return where in the file an exception was raised; a SyntaxError says it itself."""
    lines = [at.lineno for at in extract_tb(error.__traceback__) if at.filename == str(file)]
    return f" (line {lines[-1]})" if lines else ""


def describe_exception(cell_type: type[Cell], error: BaseException) -> str:
    """Return an exception with the method, file and line of the cell that raised it, if it did."""
    codes = (getattr(value, "__code__", None) for value in vars(cell_type).values())
    files = {code.co_filename for code in codes if code}
    frames = [frame for frame in extract_tb(error.__traceback__) if frame.filename in files]
    if not frames:
        return format_exception(error)
    frame = frames[-1]
    position = f"({Path(frame.filename).name}, line {frame.lineno})"
    return f"{frame.name} raises {format_exception(error)} {position}"


@contextmanager
def loaded_class(cell_type: type[Cell]) -> Iterator[str]:
    """Give a class a name for this block, under which `get_cell` knows it.

    A registered class has one already. Another one need not have a file, as in a notebook.
    """
    name = cell_name(cell_type)
    if name in CELLS and CELLS[name] is cell_type:
        yield name
        return
    name = f"{cell_type.__module__}.py:{cell_type.__name__}"
    CUSTOM_CELLS[name] = cell_type, ""
    try:
        yield name
    finally:
        del CUSTOM_CELLS[name]


def get_cell(name: str) -> type[Cell]:
    """Return the class of a built-in cell, of a package's, or of a custom one that was loaded.

    Raises:
        ConfigError: The name is unknown, the package is missing, or the custom cell was not loaded.
    """
    if is_package_cell(name):
        package_cell(name)
        return make_package_cell(name)
    if parse_custom_cell(name) is None:
        return CELLS[name]
    if name not in CUSTOM_CELLS:
        raise ConfigError(
            f"cannot use the cell {name}: its file would be executed. "
            f"Try --trust-cell FILE.py:{name.rpartition(':')[2]} if you trust it"
        )
    return CUSTOM_CELLS[name][0]


def load_recorded_cell(recorded: str, sha256: str, trusted: str) -> str:
    """Load the cell of a saved run, if the person trusts it and the file is the one it used.

    Args:
        recorded: The cell in the run's record.
        sha256: SHA-256 of its file in the record.
        trusted: FILE.py:CLASS that the person trusts, or "".

    Returns:
        The name under which `get_cell` knows the cell.

    Raises:
        ConfigError: The person trusts none, or another cell.
        DataError: The file is not the one that the run was made with.
    """
    custom = parse_custom_cell(recorded)
    if custom is None:
        if is_package_cell(recorded) and loaded_cell_sha256(recorded) != sha256:
            raise DataError(
                f"cannot use {recorded}: {PACKAGE} is not the version that the run was made with. "
                "Try that version"
            )
        if trusted not in ("", recorded):
            raise ConfigError(
                f"cannot use --trust-cell {trusted}: the run's cell is {recorded}. Leave it out"
            )
        return recorded
    if not trusted:
        raise ConfigError(
            f"cannot load the run's cell {recorded}: its file would be executed. "
            f"Try --trust-cell FILE.py:{custom[1]} if you trust it"
        )
    trusted_custom = parse_custom_cell(trusted)
    if trusted_custom is None or trusted_custom[1] != custom[1]:
        raise ConfigError(
            f"cannot use --trust-cell {trusted}: the run's cell is {recorded}. "
            f"Try FILE.py:{custom[1]}"
        )
    if (digest := custom_cell_sha256(trusted)) != sha256:
        raise DataError(
            f"cannot use {trusted_custom[0]}: it is not the file that the run was made with "
            f"(SHA-256 {digest[:12]}…, not {sha256[:12]}…). Try the original file"
        )
    load_custom_cell(trusted)
    return trusted


def custom_cell_sha256(name: str) -> str:
    """Return the SHA-256 of the file of FILE.py:CLASS, without executing it."""
    _, _, data = read_custom_cell(name)
    return hashlib.sha256(data).hexdigest()


def loaded_cell_sha256(name: str) -> str:
    """Return the SHA-256 of the file of a loaded custom or a package's cell; "" if built in."""
    if is_package_cell(name):
        return hashlib.sha256(package_cell(name)[0].read_bytes()).hexdigest()
    return "" if parse_custom_cell(name) is None else CUSTOM_CELLS[name][1]


def citation(cell_type: type[Cell]) -> str:
    """Return author (year), "title": the source of the class, else the first lines of its file."""
    own = re.search(r"^ *Source: (.+?)(?:\n\s*\n|\Z)", cell_type.__doc__ or "", re.M | re.S)
    doc = own[1] if own else sys.modules[cell_type.__module__].__doc__ or ""
    return " ".join(doc.split("\n\n")[0].split())
