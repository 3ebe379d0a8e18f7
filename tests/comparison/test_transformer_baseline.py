"""Transformer baseline: the same parameters, seeds and data order as the cells, trained once."""

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from comparison_plans import SETTINGS, TEXT, make_entries
from conftest import charlm

from charlm.comparison.budget_matching import cell_configs, match_budget
from charlm.comparison.entries import Entry, by_seed, plan_runs, training_jobs
from charlm.comparison.request import TRANSFORMER, ComparisonRequest
from charlm.comparison.search import SPACE, sample_settings
from charlm.comparison.transformer_baseline import PARAMETER_TOLERANCE, TRANSFORMER_OVERRIDES

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
    assert [run.config.seed for run in transformer.runs] == [0, 1] and not caplog.messages
    for run in transformer.runs:
        assert abs(run.parameters - 30_000) <= 600
        config = run.config
        assert (config.cell, config.block, config.num_layers) == ("attention", "residual", 4)
        assert (config.learning_rate, config.max_steps, config.batch_size) == (0.02, 12, 4)


def test_runs_shared_with_a_cell_are_trained_once() -> None:
    _, transformer = entries()
    assert [job.name for job in training_jobs([transformer], [])] == [
        *("transformer seed 0", "transformer seed 1")
    ]
    settings: dict[str, Any] = {**CELL_SETTINGS, **TRANSFORMER_OVERRIDES}
    match = match_budget(settings, ["attention"], 30_000, 50, tolerance=PARAMETER_TOLERANCE)
    configs = cell_configs(settings, "attention", match.hidden_sizes["attention"], 2)
    attention = Entry("attention", "cell", 0.0, plan_runs(configs, TEXT, 50, Path("x")))
    assert {run.path for run in attention.runs} == {run.path for run in transformer.runs}
    assert [job.name for job in training_jobs([attention, transformer], [])] == [
        *("attention seed 0", "attention seed 1")
    ]
    assert [entry.name for entry, _ in by_seed([transformer, attention])] == ["transformer"] * 2


def test_cells_are_compared_without_transformer_if_none_is_small_enough(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "charlm"):
        assert [entry.name for entry in entries(700, ("gru",))] == ["gru"]
    (message,) = caplog.messages
    assert message.startswith("no Transformer is trained as a baseline: cannot match ")


@pytest.mark.slow
def test_transformer_is_tuned_like_the_cells(tmp_path: Path, book: Path) -> None:
    words = ["compare-cells", book, "--cells", "rnn", "--seeds", 1, "--params", 30_000]
    words += ["--embedding-dim", 8, "--batch-size", 4, "--seq-len", 16, "--max-steps", 30]
    words += ["--trials", 2, "--lr-range", "0.01..0.02", "--baselines", "transformer"]
    words += ["--out", tmp_path / "o", "--json"]
    dry_run = charlm(*words, "--dry-run")
    assert dry_run.returncode == 0, dry_run.stderr
    runs = json.loads(dry_run.stdout)["runs"]
    assert Counter((run["purpose"], run["cell"]) for run in runs) == {
        ("trial", "rnn"): 2,
        ("run", "rnn"): 1,
        ("trial", "transformer"): 2,
        ("run", "transformer"): 1,
    }
    assert {run["role"] for run in runs if run["cell"] == "transformer"} == {"transformer"}

    done = charlm(*words)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    tuning = report["tuning"]["cells"]["transformer"]
    space = {**SPACE, "learning_rate": [0.01, 0.02]}
    del space["forget_bias"]  # attention has no such gate
    assert [trial["settings"] for trial in tuning["trials"]] == [
        sample_settings(space, 0),
        sample_settings(space, 1),
    ]
    (row,) = (row for row in report["rows"] if row["role"] == "transformer")
    assert row["name"] == TRANSFORMER and row["verdict"] is None
    assert row["bits_per_char"]["mean"] > 0 and report["baselines"] == []
    assert len(list((tmp_path / "o" / "trials").iterdir())) == 4
    page = (tmp_path / "o" / "report.html").read_text()
    assert "tuned as the cells were" in page
