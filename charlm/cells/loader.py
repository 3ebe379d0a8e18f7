"""The cells by name: charlm's own, and those in a file that the person names, whose code is run.

A file's code runs in `load` alone, and that is called with words of the command line only: what a
saved run says its cell was is looked up, never loaded.
"""

import hashlib
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb
from types import CodeType

from charlm.cells.base import CELLS, Cell
from charlm.cells.names import parse_custom_cell
from charlm.errors import ConfigError, DataError, InputNotFoundError

CUSTOM_CELLS: dict[
    str, tuple[type[Cell], str]
] = {}  # FILE.py:CLASS, as the person said it -> and SHA-256


class HashedSourceLoader(SourceFileLoader):
    """Runs the very bytes whose hash was taken: no compiled copy is read, and none is left."""

    def __init__(self, name: str, path: Path, data: bytes) -> None:
        super().__init__(name, str(path))
        self.data = data

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002
        return self.source_to_code(self.data, self.path)


def read_custom_cell(name: str) -> tuple[Path, str, bytes]:
    """FILE.py:CLASS -> the file, the class and what is in the file."""
    named = parse_custom_cell(name)
    assert named is not None, f"{name} is one of charlm's"
    file, kind = named
    try:
        return file, kind, file.read_bytes()
    except OSError as error:
        raise InputNotFoundError(
            f"--cell {name}: {file} cannot be read: {error.strerror}"
        ) from None


def load_custom_cell(name: str) -> None:
    """Runs the file of FILE.py:CLASS, which the person has named: from then on `find` knows it."""
    file, wanted, data = read_custom_cell(name)
    digest = hashlib.sha256(data).hexdigest()
    module_name = f"charlm_cell_{digest[:12]}"
    spec = spec_from_file_location(
        module_name, file, loader=HashedSourceLoader(module_name, file, data)
    )
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a foreign file does
        problem = f"{format_exception(error)}{error_line(file, error)}"
        raise DataError(f"--cell {name}: {file} cannot be loaded: {problem}") from None
    there = {key: kind for key, kind in vars(module).items() if isinstance(kind, type)}
    kind = there.get(wanted)
    if kind is None:
        ours = [key for key, kind in there.items() if kind.__module__ == module_name]
        raise ConfigError(
            f"--cell {name}: {file} has no class {wanted}; it has {', '.join(ours) or 'none'}"
        )
    if not issubclass(kind, Cell):
        raise ConfigError(
            f"--cell {name}: {wanted} is not a Cell: write `class {wanted}(Cell)`, "
            "with `from charlm.cell import Cell`"
        )
    CUSTOM_CELLS[name] = kind, digest


def format_exception(error: BaseException) -> str:
    """What foreign code raised, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def error_line(file: Path, error: BaseException) -> str:
    """Where in the file it was raised; a SyntaxError says it by itself."""
    lines = [at.lineno for at in extract_tb(error.__traceback__) if at.filename == str(file)]
    return f" (line {lines[-1]})" if lines else ""


def get_cell(name: str) -> type[Cell]:
    """The class of this name, which is one of charlm's or was loaded before."""
    if parse_custom_cell(name) is None:
        return CELLS[name]
    if name not in CUSTOM_CELLS:
        raise ConfigError(
            f"the cell {name} is in a file, whose code would run: "
            f"say --cell {name} if you trust it, with the path where it is now"
        )
    return CUSTOM_CELLS[name][0]


def load_recorded_cell(recorded: str, sha256: str, given: str) -> str:
    """The cell of a saved run under the name that the person gives it now: only that is loaded, and
    only if it is the file that the run was made with.

    recorded and sha256: what the run says; given: "" where the person names none.
    """
    named = parse_custom_cell(recorded)
    if named is None:
        if given not in ("", recorded):
            raise ConfigError(f"--cell {given}: the run's cell is {recorded}; leave --cell out")
        return recorded
    if not given:
        raise ConfigError(
            f"the run's cell is {recorded}, in a file whose code would run: "
            f"say --cell FILE.py:{named[1]} (compare-cells: --cells) if you trust it"
        )
    if parse_custom_cell(given) is None or parse_custom_cell(given)[1] != named[1]:  # type: ignore[index]
        raise ConfigError(f"--cell {given}: the run's cell is {recorded}")
    if (found := custom_cell_sha256(given)) != sha256:
        raise DataError(
            f"{read_custom_cell(given)[0]} is not the file that the run was made with: its SHA-256 is "
            f"{found[:12]}…, not {sha256[:12]}…. Bring that one back, or train another run"
        )
    load_custom_cell(given)
    return given


def custom_cell_sha256(name: str) -> str:
    """The SHA-256 of the file of FILE.py:CLASS, of which nothing runs."""
    _, _, data = read_custom_cell(name)
    return hashlib.sha256(data).hexdigest()


def loaded_cell_sha256(name: str) -> str:
    """Of the file of a loaded cell; "" for one of charlm's."""
    return "" if parse_custom_cell(name) is None else CUSTOM_CELLS[name][1]


def citation(kind: type[Cell]) -> str:
    """Author (year), "title", from the first line of the cell's file."""
    return " ".join((sys.modules[kind.__module__].__doc__ or "").split())
