"""Configuration files of a comparison that a program starts."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from charlm.comparison import compare as comparisons
from charlm.comparison.request import ComparisonRequest
from charlm.comparison.settings_file import read_comparison_file
from charlm.errors import ConfigError

TEXT = """
text = "another.txt"
cells = "rnn, gru"
params = 5000
seeds = 2
margin = 0.02
baselines = "all"
memory = false
device = "cpu"
log_every = 1
max_steps = 30
learning_rate = 0.01
embedding_dim = 8
"""


def write(directory: Path, text: str) -> Path:
    path = directory / "cells.toml"
    path.write_text(text)
    return path


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[ComparisonRequest]:
    """Collect what would be compared, and compare nothing."""
    collected: list[ComparisonRequest] = []

    def collect(request: ComparisonRequest, _: Any) -> SimpleNamespace:
        collected.append(request)
        return SimpleNamespace(report=None)

    monkeypatch.setattr(comparisons, "run_comparison", collect)
    return collected


def test_file_gives_settings_and_arguments(
    tmp_path: Path, book: Path, requests: list[ComparisonRequest]
) -> None:
    file = write(tmp_path, TEXT)
    out = tmp_path / "out"
    comparisons.compare(book, config=file, out=out, seeds=3)
    comparisons.compare(book, ["lstm"], config=str(file), out=out, minutes=5)
    first, second = requests
    assert first.texts == (str(book),)
    assert (first.cells, first.params, first.seeds) == (("rnn", "gru"), 5000, 3)
    assert (first.margin, first.memory, "xz" in first.baselines) == (0.02, False, True)
    assert first.settings == {
        "max_steps": 30,
        "learning_rate": 0.01,
        "embedding_dim": 8,
        "device": "cpu",
    }
    # The call counts more than the file, also where its budget replaces that of the file.
    assert (second.cells, second.seeds, second.minutes) == (("lstm",), 2, 5)
    assert "max_steps" not in second.settings


def test_argument_that_equals_its_default_counts_more_than_the_file(
    tmp_path: Path, book: Path, requests: list[ComparisonRequest]
) -> None:
    file, out = write(tmp_path, TEXT + "minutes = 3\n"), tmp_path / "out"
    given = {"parameters": 100_000, "seeds": 6, "margin": 0.01, "memory": True, "minutes": 0.0}
    comparisons.compare(book, "gru,lstm,rnn", config=file, out=out, device="auto", **given)
    comparisons.compare(book, out=out)
    for request in requests:
        assert (request.cells, request.params, request.seeds) == (
            ("gru", "lstm", "rnn"),
            100_000,
            6,
        )
        assert (request.margin, request.memory, request.minutes) == (0.01, True, 0)
        assert request.settings["device"] == "auto"
    assert requests[0].settings["max_steps"] == 30 and "max_steps" not in requests[1].settings


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("\ncels = 'gru'", r"cels \(.*cells.toml, line 2\): charlm compare-cells .* Try cells$"),
        ("lr = 0.1", "Try learning_rate$"),
        ("hidden_size = 9", "hidden_size .*no such setting"),
        ("threads = 2", "threads .*no such setting"),
        ("seeds = 0", "seeds = 0 .*line 1.*from 1 to 1,000"),
        ("seeds = '6'", "whole number"),
        ("memory = 1", "memory = 1 .*true or false"),
        ("match = 'size'", "one of flops, params, state, time"),
        ("cells = ['gru', 'rnn']", "cells = .*must be a text"),
        ("dropout = 1.5", "dropout = 1.5 .*below 1"),
        ("[runs]\nseeds = 6", "runs .*it is a table"),
    ],
)
def test_bad_keys_and_values_name_the_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_comparison_file(write(tmp_path, text))
