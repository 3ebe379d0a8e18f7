"""How far back order matters, of curves that are known."""

import numpy as np
import pytest

from charlm.probes.order_reach import order_reach

LENGTHS = (1, 2, 4, 8)


@pytest.mark.parametrize(
    ("excess", "reach"),
    [
        ([0.5, 0.2, 0.03, 0.005], 4 * 2 ** (0.02 / 0.025)),  # on a logarithmic scale
        ([0.5, 0.02, 0.005, 0.005], 2 * 2 ** (0.01 / 0.015)),
        ([0.5, 0.005, 0.035, 0.0], 4 * 2 ** (0.01 / 0.02)),  # a dip is evened out: 0.02, 0.02
        ([0.01, 0.0, -0.1, -0.2], 1),
        ([0.5, 0.2, 0.1, 0.02], np.inf),
    ],
)
def test_reach_is_where_the_monotone_curve_falls(excess: list[float], reach: float) -> None:
    assert order_reach(LENGTHS, np.array(excess), np.ones(4)) == pytest.approx(reach)


def test_length_without_a_place_is_left_out() -> None:
    sums, counts = np.array([5.0, 0.2, 0.05, 0.0]), np.array([10.0, 10, 10, 0])
    assert order_reach(LENGTHS, sums, counts) == pytest.approx(2 * 2 ** (0.01 / 0.015))


def test_curve_does_not_depend_on_other_curves() -> None:
    curves = np.random.default_rng(0).exponential(0.01, (50, 4))
    reach = order_reach(LENGTHS, curves, np.ones(4))
    assert [order_reach(LENGTHS, curve, np.ones(4)) for curve in curves] == reach.tolist()
