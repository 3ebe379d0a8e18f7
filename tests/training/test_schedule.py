"""Tests of the learning rate schedule."""

import math

import pytest

from charlm.config import validate_config
from charlm.training.schedule import learning_rate


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_learning_rate_warms_up_and_decays_to_two_percent(schedule: str) -> None:
    config = validate_config({"lr_schedule": schedule, "warmup_steps": 10, "learning_rate": 1.0})
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([(n + 1) / 11 for n in range(10)])
    assert rates[10] == 1 and all(a > b for a, b in zip(rates[10:], rates[11:], strict=False))
    assert 0.02 < rates[-1] < 0.035
    short = [learning_rate(config, step, 20) for step in range(20)]
    assert short.index(max(short)) == 2  # warmup takes a tenth of the run at most
    assert learning_rate(config, 55, 100) == pytest.approx(0.02 + 0.98 / 2)


def test_wsd_is_constant_until_its_decay() -> None:
    config = validate_config({"warmup_steps": 10, "learning_rate": 1.0})
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([(n + 1) / 11 for n in range(10)])
    assert set(rates[10:70]) == {1.0}
    assert rates[70:] == pytest.approx([1 - 0.98 * math.sqrt((n + 1) / 30) for n in range(30)])
    assert [learning_rate(config, step, 2) for step in range(2)] == pytest.approx([1, 0.02])
