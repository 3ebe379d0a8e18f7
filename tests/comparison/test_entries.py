"""Entries and planned runs: equal data, directories named by what determines a run."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
import typer.main  # noqa: TID251
from comparison_plans import SETTINGS, TEXT, make_entries
from conftest import TINY, make_run

import charlm.cli.train  # noqa: F401 (registers the command)
from charlm.cli.app import app
from charlm.comparison.entries import Entry, PlannedRun, by_seed, run_path
from charlm.comparison.request import ComparisonRequest
from charlm.config import to_argv, validate_config
from charlm.data.batches import BatchSampler
from charlm.data.corpus import load_corpus
from charlm.errors import DataError
from charlm.results.text import TextDigest


def test_plan_is_a_pure_function_of_its_arguments(tmp_path: Path) -> None:
    def entries(**changed: Any) -> tuple[Entry, ...]:
        corpus = changed.pop("corpus", TEXT)
        fields = {"cells": ("rnn", "lstm"), "seeds": 2, "settings": {"max_steps": 10}}
        request = ComparisonRequest(**{**fields, "baselines": (), **changed})
        return make_entries(tmp_path, request, corpus, 90)

    def paths(**changed: Any) -> set[Path]:
        return {run.path for entry in entries(**changed) for run in entry.runs}

    assert entries() == entries()
    assert [(entry.name, run.config.seed) for entry, run in by_seed(entries())] == [
        *(("rnn", 0), ("lstm", 0), ("rnn", 1), ("lstm", 1))
    ]
    assert not list(tmp_path.iterdir())
    planned = paths()
    assert len(planned) == 4
    # a run is named by what determines it, not by where and how it is made
    assert paths(seeds=3, cells=("rnn", "lstm", "gru")) > planned
    assert paths(settings={"max_steps": 10, "save_every": 2.0}) == planned
    assert not planned & paths(settings={"max_steps": 11})
    other = msgspec.structs.replace(TEXT, digest=TextDigest("cd" * 32, (100,)))
    assert not planned & paths(corpus=other)
    # As with another --test-file.
    cut = msgspec.structs.replace(TEXT, splits={**TEXT.splits, "train": (0, 80)})
    assert not planned & paths(corpus=cut)
    moved = msgspec.structs.replace(TEXT, sources=("/elsewhere",))
    assert planned == paths(corpus=moved)


def test_run_of_another_text_is_not_reused(tmp_path: Path, book: Path) -> None:
    _, corpus, config = make_run(tmp_path / "run", book)
    for text, fits in ((corpus.record, True), (TEXT, False)):
        planned = PlannedRun(config, run_path(config, text, tmp_path), 1, 1, 1, 1)
        (tmp_path / "run").rename(planned.path)
        if fits:
            assert planned.progress().total == config.max_steps
        else:
            with pytest.raises(DataError, match="has another text"):
                planned.progress()
        planned.path.rename(tmp_path / "run")


def test_argv_of_a_config_parses_to_the_same_config() -> None:
    config = validate_config(
        {**TINY, "tie_weights": True, "embedding_dim": 8, "hidden_size": 8, "dropout": 0.25}
    )
    train = typer.main.get_command(app).commands["train"]  # type: ignore[attr-defined]
    parsed = train.make_context("", ["--run", "x", *to_argv(config)])
    again = {k: v for k, v in parsed.params.items() if k in type(config).__struct_fields__}
    assert validate_config(again) == config


def test_all_cells_read_the_same_data_in_the_same_order(book: Path) -> None:
    corpus = load_corpus(str(book))
    request = ComparisonRequest(
        cells=("rnn", "lstm"), settings=SETTINGS, params=3000, seeds=1, baselines=()
    )
    orders = []
    for entry in make_entries(Path("x"), request, TEXT, corpus.vocabulary.size):
        config = entry.runs[0].config
        batches = BatchSampler(
            corpus.split("train"), config.batch_size, config.seq_len, config.seed
        )
        orders.append([batches[step].x for step in range(100)])
    assert all(torch.equal(a, b) for a, b in zip(*orders, strict=True))
