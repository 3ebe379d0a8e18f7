"""Tests of conformance checks: every cell passes them, and each planted fault is named."""

import re
from pathlib import Path

import pytest

from charlm.cells import loader
from charlm.cells.base import CELLS
from charlm.cells.names import cell_file
from charlm.errors import CellCheckError, ConfigError
from charlm.results.cells import CellCheckReport
from charlm.testing.case import CHECKS
from charlm.testing.check import check_cell, iter_checks, require, run_check

FAST_CELLS = ("gru", "mingru")  # for the others: pytest -m slow


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    "cell",
    [name if name in FAST_CELLS else pytest.param(name, marks=pytest.mark.slow) for name in CELLS],
)
def test_cell_passes_check(cell: str, check: str) -> None:
    require(cell, [check])


def test_each_cell_has_a_file_and_a_citation_of_its_own() -> None:
    for name, cell_type in CELLS.items():
        assert cell_type.__module__ == f"charlm.cells.{cell_file(name).stem}"
        assert re.match(r"\w.+ \(\d{4}\), \"", loader.citation(cell_type)), name
    assert loader.citation(CELLS["retnet"]).startswith("Sun et al. (2023), ")  # not of its file


# Planted faults. What unrolls a cell may stumble over any of its faults.

BROKEN = Path(__file__).parents[1] / "broken_cells.py"
STATES, PURE, FUTURE, CUT, STREAMS, PROJECTION, READOUT, GATES = list(CHECKS)[:8]
GRADIENTS, COUNT, FLOPS, MATRICES, SAVED, FLOAT64, FLOAT32, RESUME = list(CHECKS)[8:]
FAULTS: dict[str, tuple[set[str], str]] = {
    "Sound": (set(), ""),
    "SecondStateIsMissing": (
        {STATES, GATES, GRADIENTS},
        r"step returns 1 parts, and `states` names 2 \(h, c\)",
    ),
    "StateChangesShape": ({STATES}, r"h is \(3, 9, 1\) in initial_state and \(3, 9\) in step"),
    "StreamsStartDifferently": ({STATES}, "the initial h differs between streams"),
    "ModifiesItsState": (
        {PURE, CUT, FUTURE, STREAMS, GRADIENTS, SAVED},
        "step modifies its arguments",
    ),
    "RemembersInTheModule": ({PURE, CUT, FUTURE, STREAMS, GRADIENTS}, "result the second time"),
    "PreparedIsAnotherCell": (
        {PURE, GRADIENTS},
        r"the step of prepared\(\) gives another result",
    ),
    "ProjectionReadsPreviousToken": (
        {CUT, PROJECTION},
        "a cut after token 1 of 11 changes it by ",
    ),
    "SeesTheFuture": (
        {FUTURE, CUT, PROJECTION},
        "changing token 2 changes earlier outputs by 6.5e-01",
    ),
    "ReadsNothing": ({FUTURE}, "changing token 1 changes no output"),
    "MixesStreams": ({STREAMS}, "changing stream 2 changes streams 1 and 3 by 5.3e-01"),
    "OutputIsNoReadout": ({READOUT}, "changes the step by .*output_is_readout = False"),
    "OutputIsUndeclaredReadout": ({READOUT}, "changes nothing, .*set output_is_readout = True"),
    "GateIsNotRecorded": ({GATES}, "its step did not record z"),
    "GateIsNotInZeroToOne": ({GATES}, "before_sigmoid is from -[0-9.]+ to "),
    "GateHasTwiceTheUnits": ({GATES}, "both: it has 18 numbers, and the cell has 9 units"),
    "StopsGradient": (
        {GRADIENTS},
        "that of x is -6.75884, and the finite difference is -7.00497",
    ),
    "MiscountsParameters": ({COUNT}, r"2H\(X \+ H\) is 252, and there are 270"),
    "StatesNoParameters": ({COUNT}, "it states none, and there are 270: add"),
    "StatesNoFormula": ({COUNT}, "is not a sum of products"),
    "FailsOnMetaDevice": ({COUNT}, "RuntimeError: Tensor.item.* meta"),
    "MultipliesTwice": ({FLOPS}, "flops is 504, and PyTorch counts 684"),
    "CopiesMatrix": ({MATRICES}, "yields a copy: writing into it changes no weight"),
    "MatrixIsNotSquare": ({MATRICES}, r"yields a matrix \(18, 9\)"),
    "BiasIsNoParameter": ({SAVED}, "the outputs differ by 1.*a tensor that is not a Parameter"),
    "HasUnsavedStatistics": ({RESUME}, "is off by .* if training is interrupted half-way"),
    "ForgottenByKernel": ({FLOAT64}, "forgets: the output is off by 1.5e.00"),
    "MisindexedByKernel": ({FLOAT64}, "misindexes with token ids: the output is off by"),
    "FrozenByKernel": ({FLOAT64}, "freezes: the last h is off by 1.5e.00"),
    "DetachedByKernel": ({FLOAT64}, "detaches: the gradient of x is off by 1"),
    "RoundedByKernel": ({FLOAT32}, "rounds is off by 1.6e-04"),
}
FAST_FAULTS = {"Sound", "SeesTheFuture", "GateIsNotRecorded", "ForgottenByKernel"}


@pytest.mark.parametrize(
    "fault",
    [
        name if name in FAST_FAULTS else pytest.param(name, marks=pytest.mark.slow)
        for name in FAULTS
    ],
)
def test_planted_fault_is_named(fault: str) -> None:
    cell = f"{BROKEN}:{fault}"
    loader.load_custom_cell(cell)
    expected, problem = FAULTS[fault]
    failed = {check for check in CHECKS if run_check(cell, check).problem}
    follow_ups = {FLOAT64, FLOAT32, RESUME} if expected else set()
    assert expected <= failed <= expected | follow_ups
    if expected:
        first = next(check for check in CHECKS if check in expected)
        message = f"{fault}: the check “{re.escape(first)}” failed with 5 inputs.*: .*{problem}"
        with pytest.raises(CellCheckError, match=message):
            require(cell, [check for check in CHECKS if check in expected])


def test_exception_of_cell_fails_check() -> None:
    cell = f"{BROKEN}:Raises"
    loader.load_custom_cell(cell)
    with pytest.raises(
        CellCheckError,
        match="the output first” failed with .*: step raises RuntimeError: .*py, line ",
    ):
        require(cell, CHECKS)


def test_every_planted_fault_is_tested() -> None:
    planted = set(re.findall(r"^class (\w+)", BROKEN.read_text(), re.M))
    assert planted == {*FAULTS, "Raises"}


def test_check_cell_reports_every_check() -> None:
    report = check_cell(f"{BROKEN}:ReadsNothing")
    assert isinstance(report, CellCheckReport) and not report.passed
    assert [result.check for result in report.checks] == list(CHECKS)
    assert [result.check for result in report.checks if result.problem] == [FUTURE]


def test_check_cell_takes_a_class() -> None:
    loader.load_custom_cell(f"{BROKEN}:ReadsNothing")
    loaded = dict(loader.CUSTOM_CELLS)
    report = check_cell(loader.get_cell(f"{BROKEN}:ReadsNothing"))
    assert report.cell == "ReadsNothing" and loaded == loader.CUSTOM_CELLS
    assert [row["check"] for row in report.to_dicts() if row["problem"]] == [FUTURE]
    with pytest.raises(ConfigError, match="it is no subclass of Cell"):
        check_cell(int)  # type: ignore[arg-type]


def test_exception_of_step_is_reported_once_with_its_line() -> None:
    problems = [result.problem for result in iter_checks(f"{BROKEN}:Raises") if result.problem]
    lines = BROKEN.read_text().splitlines()
    stated = [problem for problem in problems if "RuntimeError" in problem]
    assert "step raises RuntimeError" in stated[0] and len(problems) > len(stated)
    (number,) = re.findall(r" \(broken_cells\.py, line (\d+)\)$", stated[0])
    assert "Wx" in lines[int(number) - 1]
    assert "not finished: the same exception as above" in problems
    assert len(stated) == len(set(stated))
