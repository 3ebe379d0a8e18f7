"""Conformance checks of a cell: run one, run all, or require the important ones."""

from collections.abc import Iterable, Iterator

from charlm.cells.base import Cell, cell_name
from charlm.cells.loader import describe_exception, get_cell, load_custom_cell, loaded_class
from charlm.cells.names import parse_custom_cell
from charlm.errors import CellCheckError, ConfigError
from charlm.results.cells import CellCheckReport, CheckResult
from charlm.testing import cell_checks, kernel_checks  # noqa: F401  (they register the checks)
from charlm.testing.case import CHECKS, cell_cases, isolated_rng


def run_check(cell: str, check: str) -> CheckResult:
    """Run one check on a built-in or loaded cell, at all its sizes.

    Args:
        cell: Name of the cell.
        check: Description of the check, a key of CHECKS.
    """
    sizes, problem, _ = _find_problem(cell, check)
    return CheckResult(check=check, problem=problem and f"{sizes}{problem}")


def _find_problem(cell: str, check: str) -> tuple[str, str | None, bool]:
    """Return the sizes at which a check fails, the problem, and whether it is an exception.

    The problem of a check that passes is None.
    """
    sizes = ""
    try:
        for case in cell_cases(cell):
            sizes = f"with {case}: "
            with isolated_rng(0):
                CHECKS[check](case)
    except CellCheckError as error:
        return sizes, str(error), False
    except Exception as error:  # a custom cell may raise anything
        return sizes, describe_exception(get_cell(cell), error), True
    return sizes, None, False


def iter_checks(cell: str | type[Cell]) -> Iterator[CheckResult]:
    """Run all checks, and yield each result. The file of a custom cell is executed.

    An exception that an earlier check has reported is not repeated: the later check refers to it.

    Raises:
        InputNotFoundError: The file cannot be read.
        DataError: The file cannot be executed.
        ConfigError: There is no such cell.
    """
    if not isinstance(cell, str):
        with loaded_class(cell) as name:
            yield from iter_checks_by_name(name)
        return
    if parse_custom_cell(cell) is not None:
        load_custom_cell(cell)
    yield from iter_checks_by_name(cell)


def iter_checks_by_name(cell: str) -> Iterator[CheckResult]:
    """Run all checks on a built-in or loaded cell, and yield each result."""
    reported: set[str | None] = set()  # exceptions
    for check in CHECKS:
        sizes, problem, is_exception = _find_problem(cell, check)
        if is_exception and problem in reported:
            yield CheckResult(check=check, problem="not finished: the same exception as above")
            continue
        if is_exception:
            reported.add(problem)
        yield CheckResult(check=check, problem=problem and f"{sizes}{problem}")


def check_cell(cell: str | type[Cell]) -> CellCheckReport:
    """Test whether a cell meets the contract in the docstring of `Cell`.

    Args:
        cell: The class; or the name of a cell, or FILE.py:CLASS, whose file is executed.

    Returns:
        The result of every check.

    Raises:
        InputNotFoundError: The file cannot be read.
        DataError: The file cannot be executed.
        ConfigError: There is no such cell.
    """
    if not isinstance(cell, str) and not (isinstance(cell, type) and issubclass(cell, Cell)):
        raise ConfigError(f"cannot check {cell!r}: it is no subclass of Cell. Try FILE.py:CLASS")
    name = cell if isinstance(cell, str) else cell_name(cell)
    return check_report(name, iter_checks(cell))


def check_report(cell: str, results: Iterable[CheckResult]) -> CellCheckReport:
    """Return the report of these results."""
    checks = tuple(results)
    passed = not any(result.problem for result in checks)
    return CellCheckReport(cell=cell, passed=passed, checks=checks)


def require(cell: str, checks: Iterable[str]) -> None:
    """Run checks and raise at the first that fails.

    Raises:
        CellCheckError: A check failed.
    """
    for check in checks:
        result = run_check(cell, check)
        if result.problem:
            raise CellCheckError(
                f"cannot use the cell {cell}: the check “{check}” failed {result.problem}. "
                f"Try charlm cells check {cell}"
            )
