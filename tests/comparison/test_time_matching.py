"""Time matching: sizes are found in a few measurements, once."""

import math
from pathlib import Path
from typing import Any

import pytest

from charlm.comparison import time_matching
from charlm.reporting.wording.matching import describe_matching

SYMBOLS = 90


@pytest.mark.parametrize("power", [0.5, 1.0, 1.7, 2.0])
@pytest.mark.parametrize(("first", "multiple"), [(20, 1), (160, 8), (2000, 4)])
def test_secant_search_finds_equal_time_in_few_measurements(
    first: int, multiple: int, power: float
) -> None:
    looks = []

    def share(hidden: int) -> float:
        looks.append(hidden)
        return (hidden / 200) ** power

    rough, near = time_matching.secant_search(
        share, first, multiple, *time_matching.COARSE_SEARCH[::2]
    )
    assert abs(rough - 200) <= max(multiple, 8) and rough % multiple == 0
    assert len(looks) <= time_matching.COARSE_SEARCH[0] and rough in looks and near == share(rough)
    fine, near = time_matching.secant_search(
        share, rough, multiple, *time_matching.FINE_SEARCH[::2]
    )
    assert abs(near - 1) <= max(0.01, multiple / 200 * power / 2) and near == share(fine)


def test_noisy_search_returns_best_measured_size() -> None:
    seen: dict[int, float] = {}

    def share(hidden: int) -> float:
        seen[hidden] = [3.0, 0.4, 2.0, 0.3, 1.5, 0.9][len(seen)]
        return seen[hidden]

    found, near = time_matching.secant_search(share, 100, 1, 6, 0.02)
    assert near == seen[found]
    assert abs(math.log(seen[found])) == min(abs(math.log(one)) for one in seen.values())


def test_measured_sizes_are_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def relative_step_time(config: Any, lstm: Any, *_: Any) -> float:
        measured.append(config.cell)
        return config.hidden_size / (2 * lstm.hidden_size)

    monkeypatch.setattr(time_matching, "relative_step_time", relative_step_time)

    def footing(*cells: str, **settings: Any) -> Any:
        told = {"embedding_dim": 8, **settings}
        return time_matching.match_step_time(told, cells, 30_000, SYMBOLS, None, "cpu", tmp_path)  # type: ignore

    first = footing("lstm", "rnn")
    assert set(measured) == {"rnn"}  # the LSTM is the reference
    assert first.hidden_sizes["rnn"] == pytest.approx(2 * first.hidden_sizes["lstm"], rel=0.02)
    assert first.relative_errors["lstm"] == 0
    assert "as an LSTM of 30,000 parameters" in describe_matching(first.matching(7, None))
    assert (tmp_path / "time_matching.json").exists()
    measured.clear()
    # the budget and the seed do not decide it; another width does
    assert footing("lstm", "rnn", max_steps=7, seed=3, learning_rate=0.1) == first
    assert not measured
    more = footing("gru", "rnn")
    assert set(measured) == {"gru"} and more.hidden_sizes["rnn"] == first.hidden_sizes["rnn"]
    footing("rnn", seq_len=9)
    assert measured[-1] == "rnn"


def test_nothing_is_written_by_a_dry_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_matching, "relative_step_time", lambda *_: 1.0)
    time_matching.match_step_time(
        {"embedding_dim": 8},
        ["rnn"],
        30_000,
        SYMBOLS,
        None,  # type: ignore[arg-type]
        "cpu",
        tmp_path,
        writes=False,
    )
    assert not list(tmp_path.iterdir())
