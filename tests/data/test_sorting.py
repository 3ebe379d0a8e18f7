"""Different values, their counts and places: equal to what NumPy finds slowly."""

import numpy as np
import pytest

from charlm.data.sorting import MAX_TABLE, count_unique, find_sorted, sorted_unique


@pytest.mark.parametrize("high", [5, 3000, MAX_TABLE * 10, 1 << 60])
@pytest.mark.parametrize("length", [0, 1, 2000])
def test_values_are_found_as_by_numpy(high: int, length: int) -> None:
    draw = np.random.default_rng(length)
    values, queries = draw.integers(0, high, length), draw.integers(0, high, 500)
    keys, counts = count_unique(values)
    expected, expected_counts = np.unique(values, return_counts=True)
    assert keys.tolist() == expected.tolist() == sorted_unique(values).tolist()
    assert counts.tolist() == expected_counts.tolist()
    queries = np.concatenate((queries, values, [-1, -7]))
    found = find_sorted(keys, queries)
    assert np.array_equal(found >= 0, np.isin(queries, keys))
    assert np.array_equal(keys[found[found >= 0]], queries[found >= 0])


def test_keys_that_share_a_slot_are_all_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charlm.data.sorting._slots", lambda values, bits: 0 * values)
    keys = np.arange(0, 300, 3)
    expected = [number // 3 if number % 3 == 0 else -1 for number in range(300)]
    assert find_sorted(keys, np.arange(300)).tolist() == expected
