"""Comparison plans without a text: for tests of planning, tuning and reports."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from conftest import TINY

from charlm.comparison.budget_matching import match_budget
from charlm.comparison.entries import Entry
from charlm.comparison.plan import ComparisonPlan, budget_in_characters, plan_entries
from charlm.comparison.request import ComparisonRequest
from charlm.config import FORMAT_VERSION
from charlm.results.run import RunRecord, RunReport, Score
from charlm.results.text import CorpusRecord, TextDigest

SETTINGS = {name: value for name, value in TINY.items() if name != "hidden_size"}
TEXT = CorpusRecord(
    sources=("book.txt",),
    digest=TextDigest("ab" * 32, (100,)),
    characters=100,
    split_by="position",
    splits={"train": (0, 90), "valid": (90, 95), "test": (95, 100)},
    files={},
    rare_characters=0,
    notes=(),
)


def make_entries(
    directory: Path,
    request: ComparisonRequest,
    corpus: CorpusRecord = TEXT,
    vocabulary_size: int = 32,
    train_length: int = 10_000,
) -> tuple[Entry, ...]:
    """Return the entries of a request on a text that nobody reads."""
    settings = request.base_settings
    match = match_budget(settings, request.cells, request.params, vocabulary_size)
    characters = budget_in_characters(settings, request.cells, train_length)
    return plan_entries(request, settings, match, corpus, vocabulary_size, characters, directory)


def run_report(
    record: RunRecord, score: Score | None = None, weights_sha256: str = "ef" * 32
) -> RunReport:
    """Return the report of a run with this score."""
    config = record.config
    return RunReport(
        format=FORMAT_VERSION,
        cell=config.cell,
        hidden_size=config.hidden_size,
        num_layers=config.num_layers,
        parameters=record.parameters,
        state_size=record.state_size,
        seed=config.seed,
        kernel="loop",
        steps=record.max_steps,
        characters_read=9,
        seconds=60.0,
        chars_per_second=100.0,
        best_step=None,
        best_valid_bits=None,
        validation_protocol="subsampled",
        weights_sha256=weights_sha256,
        scored_split=config.final_eval,
        score=score,
    )


def make_plan(
    directory: Path,
    cells: tuple[str, ...] = ("rnn", "gru"),
    seeds: int = 2,
    **fields: Any,
) -> ComparisonPlan:
    """Return a plan of runs of 2,700 steps on a text that nobody reads.

    Args:
        directory: Of the comparison.
        cells: Names of the cells.
        seeds: Runs per cell.
        fields: Fields of the request, or settings of its runs.
    """
    names = set(ComparisonRequest.__dataclass_fields__)
    settings = {name: value for name, value in fields.items() if name not in names}
    request = ComparisonRequest(
        **{
            "cells": cells,
            "settings": {**SETTINGS, "max_steps": 2700, **settings},
            "params": 20_000,
            "seeds": seeds,
            "baselines": (),
            **{name: value for name, value in fields.items() if name in names},
        }
    )
    entries = make_entries(directory, request)
    match = match_budget(request.base_settings, cells, request.params, 32)
    return ComparisonPlan(
        request=request,
        corpus=SimpleNamespace(record=TEXT, vocabulary=SimpleNamespace(size=32)),  # type: ignore[arg-type]
        texts=("t",),
        entries=entries,
        reference=cells[0],
        matching=match.matching(entries[0].runs[0].config.characters, 2700),
        characters=entries[0].runs[0].config.characters,
        search=request.search,
    )
