"""The Transformer beside the cells: the same parameters, seeds and data order, and trained once."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from conftest import TINY, charlm

from charlm.comparison import transformer_reference
from charlm.comparison.budget_matching import match_budget
from charlm.comparison.plan import PlannedRun, plan_runs
from charlm.comparison.search import SPACE, sample_settings
from charlm.results.text import CorpusRecord, TextDigest

TEXT = CorpusRecord((), TextDigest("ab" * 32, (100,)), 100, {"train": (0, 90)}, ())
SETTINGS = {**TINY, "embedding_dim": 8, "forget_bias": "chrono", "recurrent_init": "orthogonal"}
SETTINGS |= {"weight_dropout": 0.5, "kernel": "compiled", "learning_rate": 0.02}


def planned(said: list[str], parameters: int = 30_000, **settings: Any) -> list[PlannedRun]:
    given = {**SETTINGS, **settings}
    return transformer_reference.plan_transformer_runs(
        given, 2, parameters, TEXT, 50, Path("x"), said.append
    )


def test_it_is_trained_as_the_cells_are_but_for_what_attention_has_not() -> None:
    said: list[str] = []
    runs = planned(said)
    assert [one.config.seed for one in runs] == [0, 1] and not said
    for one in runs:
        assert abs(one.parameters - 30_000) <= 600
        config = one.config
        assert (config.cell, config.block, config.num_layers) == ("attention", "residual", 4)
        assert (config.learning_rate, config.max_steps, config.batch_size) == (0.02, 12, 4)


def test_what_the_comparison_has_among_its_cells_is_trained_once() -> None:
    runs = planned([])
    assert [job.name for job in transformer_reference.transformer_jobs(runs, [], [])] == [
        *("transformer seed 0", "transformer seed 1")
    ]
    own = {**SETTINGS, **transformer_reference.TRANSFORMER_OVERRIDES}
    footing = match_budget(
        own, ["attention", "lstm"], 30_000, 50, tolerance=transformer_reference.TOLERANCE
    )
    cells = plan_runs(own, 1, footing, TEXT, 50, Path("x"))
    assert [job.name for job in transformer_reference.transformer_jobs(runs, cells, [])] == [
        "transformer seed 1"
    ]


def test_where_none_has_so_few_parameters_the_cells_are_compared_without_it() -> None:
    said: list[str] = []
    assert planned(said, 700) == []
    assert len(said) == 1 and said[0].startswith("no transformer stands beside the cells: ")
    told = transformer_reference.summarize_transformer([], tuned=False)
    assert told["bits_per_char"] is None and "no size of 4 blocks" in told["protocol"]


def test_where_cells_are_tuned_it_is_tuned_too(tmp_path: Path, book: Path) -> None:
    words = ["compare-cells", book, "--cells", "rnn", "--seeds", 1, "--params", 30_000]
    words += [
        "--embedding-dim",
        8,
        "--batch-size",
        4,
        "--seq-len",
        16,
        "--max-steps",
        30,
        "--trials",
        2,
    ]
    words += ["--lr-range", "0.01..0.02", "--out", tmp_path / "o", "--json"]
    planned = charlm(*words, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    runs = Counter((run["purpose"], run["cell"]) for run in json.loads(planned.stdout)["runs"])
    assert runs == {("trial", "rnn"): 2, ("run", "rnn"): 1, ("transformer", "attention"): 3}

    done = charlm(*words)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    of = report["tuning"]["cells"]["transformer"]
    space = {**SPACE, "learning_rate": [0.01, 0.02]}
    space.pop("forget_bias")  # attention has no gate that keeps
    assert [one["settings"] for one in of["trials"]] == [
        sample_settings(space, 0),
        sample_settings(space, 1),
    ]
    (told,) = (
        one for one in report["baselines"] if one["name"] == transformer_reference.REFERENCE_NAME
    )
    assert "tuned as the cells were" in told["protocol"] and told["bits_per_char"] > 0
    assert len(list((tmp_path / "o" / "trials").iterdir())) == 4
