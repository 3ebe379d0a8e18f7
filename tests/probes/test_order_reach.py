"""How far back order matters, of curves that are known."""

import numpy as np
import pytest

from charlm.probes.order_reach import order_reach

LENGTHS = (1, 2, 4, 8)


@pytest.mark.parametrize(
    ("excess", "reach"),
    [
        ([0.5, 0.2, 0.03, 0.005], 4 * 2 ** (0.02 / 0.025)),  # on a logarithmic scale
        ([0.5, 0.02, 0.01, 0.01], 4),
        ([0.5, 0.005, 0.03, 0.0], 4 * 2 ** (2 / 3)),  # a dip before does not count
        ([0.01, 0.0, -0.1, 0.0], 1),
        ([0.5, 0.2, 0.1, 0.02], np.inf),
        ([0.0, 0.0, 0.0, 0.02], np.inf),
        ([0.5, 0.02, np.nan, np.nan], 4),  # without a place
    ],
)
def test_reach_is_where_the_curve_stays_within(excess: list[float], reach: float) -> None:
    assert order_reach(LENGTHS, np.array(excess)) == pytest.approx(reach)


def test_reach_grows_with_every_excess_and_does_not_depend_on_other_curves() -> None:
    curves = np.random.default_rng(0).exponential(0.01, (500, 4))
    reach = order_reach(LENGTHS, curves)
    assert [order_reach(LENGTHS, curve) for curve in curves] == reach.tolist()
    assert (order_reach(LENGTHS, curves + 0.001) >= reach).all()
    assert (order_reach(LENGTHS, curves, 0.02) <= reach).all()
