"""Conformance checks of a cell: run one, run all, or require the important ones."""

from collections.abc import Iterable, Iterator

from charlm.cells.loader import format_exception, load_custom_cell
from charlm.cells.names import parse_custom_cell
from charlm.errors import CellCheckError
from charlm.results.cells import CellCheckReport, CheckResult
from charlm.testing import cell_checks, kernel_checks  # noqa: F401  (they register the checks)
from charlm.testing.case import CHECKS, cell_cases, isolated_rng


def run_check(cell: str, check: str) -> CheckResult:
    """Run one check on a built-in or loaded cell, at all its sizes.

    Args:
        cell: Name of the cell.
        check: Description of the check, a key of CHECKS.
    """
    sizes = ""
    try:
        for case in cell_cases(cell):
            sizes = f"with {case}: "
            with isolated_rng(0):
                CHECKS[check](case)
    except Exception as error:  # a custom cell may raise anything
        problem = str(error) if isinstance(error, CellCheckError) else format_exception(error)
        return CheckResult(check=check, problem=f"{sizes}{problem}")
    return CheckResult(check=check, problem=None)


def iter_checks(cell: str) -> Iterator[CheckResult]:
    """Run all checks, and yield each result. The file of a custom cell is executed.

    Raises:
        InputNotFoundError: The file cannot be read.
        DataError: The file cannot be executed.
        ConfigError: There is no such cell.
    """
    if parse_custom_cell(cell) is not None:
        load_custom_cell(cell)
    for check in CHECKS:
        yield run_check(cell, check)


def check_cell(cell: str) -> CellCheckReport:
    """Test whether a cell meets the contract in the docstring of `Cell`.

    Args:
        cell: Name of a cell, or FILE.py:CLASS. The file is executed.

    Returns:
        The result of every check.

    Raises:
        InputNotFoundError: The file cannot be read.
        DataError: The file cannot be executed.
        ConfigError: There is no such cell.
    """
    return check_report(cell, iter_checks(cell))


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
