"""Test of compiled kernels under AddressSanitizer, with the functions of the fault injection."""

from pathlib import Path

import pytest
from faults.sanitizer import run, sanitizer_environment


@pytest.mark.slow  # it compiles a cell with sanitizers
def test_sanitizer_reports_nothing_but_the_planted_fault(tmp_path: Path) -> None:
    try:
        sanitizer_environment(tmp_path)
    except FileNotFoundError:
        pytest.skip("GCC or its AddressSanitizer is not installed")
    hazard = run(0.01)
    assert hazard.failures == () and hazard.trials > 10
