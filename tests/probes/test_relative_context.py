"""Relative effective context length of a group of runs."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from charlm.probes.relative_context import relative_effective_context_length
from charlm.results.probes import ProbeResult


def artifacts(*bits: list[float]) -> dict[str, Tensor]:
    return {"context_lengths": torch.tensor([1, 2, 4]), "bits": torch.tensor(bits)}


def values(result: ProbeResult, curve: int = 0) -> np.ndarray:
    return np.array(result.curves[curve].y)


def test_relative_context_equals_its_definition() -> None:
    """With one character the best has 4, 2, 1, 1 bits; with two, 3, 2, 1, and no fourth one."""
    nan = math.nan
    group = {
        "good": artifacts([4, 2, 1, 1], [2, 2, 1, nan], [2, 2, 1, nan]),
        "poor": artifacts([5, 3, 2, 1], [3, 4, 1, nan], [2.9, 4, 0.97, nan]),
    }
    result = relative_effective_context_length(group)
    half, whole = result.panels
    assert [panel.title for panel in (result, half, whole)] == ["r = 0.1", "r = 0.5", "r = 1"]
    assert result.curves[0].x == [1, 2]
    # r = 1: the bars are 4, 2, 1 and then 2, 2, 1; losses above them do not count.
    assert_allclose(values(whole), [1 - 2 ** (-2 / 3), 0], atol=1e-6)
    assert_allclose(values(whole, 1), [1 - 2 ** (-1 / 3), 1 - 2 ** (-0.03 / 3)], rtol=1e-4)
    # r = 0.5: the two positions with the highest bars; r = 0.1: one.
    assert_allclose(values(half, 1), [1 - 2 ** (-1 / 2), 0], atol=1e-6)
    assert_allclose(values(result, 1), [1 - 2**-1, 0], atol=1e-6)
    numbers = {(number.run, number.name): number for number in result.numbers}
    for run in ("good", "poor"):
        assert (numbers[run, "r = 1"].value, numbers[run, "r = 1"].lower_bound) == (2, None)
    group["poor"]["bits"][2, 2] = 0.9
    result = relative_effective_context_length(group)
    assert result.numbers[-1].value is None and result.numbers[-1].lower_bound == 2
    assert result.notes == []


def test_single_run_is_measured_against_itself() -> None:
    group = {"single": artifacts([4.0, 2.0], [3.0, 2.0], [3.0, 2.0])}
    result = relative_effective_context_length(group)
    assert result.notes == ["single run, measured against itself"]
    assert result.numbers[-1].value == 2


def test_relative_context_doubles_whatever_lengths_were_tested() -> None:
    bits = torch.tensor([[4.0, 2.0], [3.0, 2.0], [1.0, 1.0], [2.0, 2.0]])
    group = {"single": {"context_lengths": torch.tensor([1, 2, 3, 4]), "bits": bits}}
    result = relative_effective_context_length(group)
    assert result.panels[1].curves[0].x == [1, 2]
    assert_allclose(values(result.panels[1]), [1 - 2**-0.5] * 2, rtol=1e-9)


@pytest.mark.parametrize(("is_bytes", "unit"), [(True, "bytes"), (False, "characters")])
def test_relative_context_has_unit_of_vocabulary(is_bytes: bool, unit: str) -> None:
    group = {"single": artifacts([4.0], [3.0], [2.0])}
    group["single"]["is_bytes"] = torch.tensor(is_bytes)
    result = relative_effective_context_length(group)
    assert {number.unit for number in result.numbers} == {unit} and unit in result.x
