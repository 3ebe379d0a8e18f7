"""Transformer baseline: the same parameters and characters as the cells, trained once."""

import json
import logging
from pathlib import Path

import pytest
from comparison_plans import SETTINGS, TEXT, make_entries
from conftest import charlm

from charlm.comparison.entries import Entry, by_seed, with_overrides
from charlm.comparison.request import TRANSFORMER, ComparisonRequest

CELL_SETTINGS = {**SETTINGS, "embedding_dim": 8, "forget_bias": "chrono"}
CELL_SETTINGS |= {"recurrent_init": "orthogonal", "weight_dropout": 0.5}
CELL_SETTINGS |= {"kernel": "compiled", "learning_rate": 0.02}


def entries(parameters: int = 30_000, cells: tuple[str, ...] = ("lstm",)) -> tuple[Entry, ...]:
    request = ComparisonRequest(
        cells=cells,
        settings=CELL_SETTINGS,
        params=parameters,
        seeds=2,
        baselines=(TRANSFORMER,),
    )
    return make_entries(Path("x"), request, vocabulary_size=50)


def test_transformer_has_settings_of_cells_that_attention_supports(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lstm, transformer = entries()
    assert (lstm.role, transformer.role, transformer.name) == ("cell", "transformer", "transformer")
    assert [run.config.seed for run in transformer.runs] == [0] and not caplog.messages
    for run in transformer.runs:
        assert abs(run.parameters - 30_000) <= 600
        config = run.config
        assert (config.cell, config.block, config.num_layers) == ("attention", "residual", 4)
        assert (config.learning_rate, run.max_steps, config.batch_size) == (0.02, 12, 4)
        assert config.characters == lstm.runs[0].config.characters and not config.branches


def test_transformer_is_trained_beside_cells_with_options_of_their_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = {**SETTINGS, "embedding_dim": 8, "num_heads": 2, "eigenvalues": "signed"}
    request = ComparisonRequest(
        cells=("deltanet",), settings=settings, params=30_000, seeds=2, baselines=(TRANSFORMER,)
    )
    cell, transformer = make_entries(Path("x"), request, vocabulary_size=50)
    assert cell.runs[0].config.num_heads == 2 and transformer.name == "transformer"
    assert not caplog.messages


def test_run_shared_with_a_cell_is_trained_once() -> None:
    _, transformer = entries()
    run = transformer.runs[0]
    attention = Entry("attention", "cell", 0.0, (run, with_overrides(run, {"seed": 1}, TEXT)))
    assert [entry.name for entry, _ in by_seed([attention, transformer])] == ["attention"] * 2
    assert [entry.name for entry, _ in by_seed([transformer, attention])] == [
        *("transformer", "attention")
    ]


def test_cells_are_compared_without_transformer_if_none_is_small_enough(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "charlm"):
        assert [entry.name for entry in entries(700, ("gru",))] == ["gru"]
    (message,) = caplog.messages
    assert message.startswith("no Transformer is trained as a baseline: cannot match ")


@pytest.mark.slow
def test_transformer_is_trained_once_and_not_judged(tmp_path: Path, book: Path) -> None:
    words = ["compare-cells", book, "--cells", "rnn", "--seeds", 2, "--params", 30_000]
    words += ["--embedding-dim", 8, "--batch-size", 4, "--seq-len", 16, "--max-steps", 30]
    words += ["--baselines", "transformer", "--no-memory", "--out", tmp_path / "o", "--json"]
    done = charlm(*words)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    (row,) = (row for row in report["rows"] if row["role"] == "transformer")
    assert (row["name"], row["cell"]) == (TRANSFORMER, "attention") and row["seeds"] == [0]
    assert row["quality"]["verdict"] is None and row["quality"]["value"]["mean"] > 0
    assert report["baselines"] == []
