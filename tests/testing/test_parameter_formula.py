"""Tests of parameter formulas."""

import pytest

from charlm.errors import CellCheckError
from charlm.testing.parameter_formula import evaluate_parameter_formula

SIZES = {"X": 5, "H": 8}


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("3H(X + 1) + H", 3 * 8 * 6 + 8),
        ("HX + 4H(X +\n H/4 - 1)", 40 + 32 * 6),
        ("9H*H/16 + (X + 1)(H + 1) + H^2", 36 + 54 + 64),
    ],
)
def test_formula_is_evaluated_as_written(formula: str, value: int) -> None:
    assert evaluate_parameter_formula(formula, SIZES) == value


@pytest.mark.parametrize("formula", ["4Y", "", "H(X", "H**X()", "H.real", "2.5H"])
def test_other_text_is_refused(formula: str) -> None:
    with pytest.raises(CellCheckError):
        evaluate_parameter_formula(formula, SIZES)
