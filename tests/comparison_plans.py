"""Comparison plans without a text: for tests of planning, tuning and reports."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from conftest import TINY

from charlm.comparison.budget_matching import match_budget
from charlm.comparison.entries import Entry
from charlm.comparison.plan import ComparisonPlan, plan_entries
from charlm.comparison.request import ComparisonRequest
from charlm.comparison.search import SearchSettings
from charlm.config import FORMAT_VERSION
from charlm.results.run import RunRecord, RunReport, Score
from charlm.results.text import CorpusRecord, TextDigest

SETTINGS = {name: value for name, value in TINY.items() if name != "hidden_size"}
TEXT = CorpusRecord(
    sources=(),
    digest=TextDigest("ab" * 32, (100,)),
    characters=100,
    split_by="position",
    splits={"train": (0, 90)},
    files={},
    rare_characters=0,
    notes=(),
)


def make_entries(
    directory: Path,
    request: ComparisonRequest,
    corpus: CorpusRecord = TEXT,
    vocabulary_size: int = 32,
) -> tuple[Entry, ...]:
    """Return the entries of a request on a text that nobody reads."""
    match = match_budget(request.base_settings, request.cells, request.params, vocabulary_size)
    return plan_entries(request, match, corpus, vocabulary_size, directory)


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
    search: SearchSettings | None = None,
    seeds: int = 2,
    baselines: tuple[str, ...] = (),
    **settings: Any,
) -> ComparisonPlan:
    """Return a plan of runs of 2,700 steps on a text that nobody reads."""
    settings = {**SETTINGS, "max_steps": 2700, **settings}
    request = ComparisonRequest(
        cells=cells, settings=settings, params=20_000, seeds=seeds, baselines=baselines, trials=0
    )
    match = match_budget(request.base_settings, cells, request.params, 32)
    return ComparisonPlan(
        corpus=SimpleNamespace(record=TEXT, vocabulary=SimpleNamespace(size=32)),  # type: ignore[arg-type]
        texts=("t",),
        entries=plan_entries(request, match, TEXT, 32, directory),
        matching=match.matching(2700),
        max_steps=2700,
        search=search,
        insufficient=None,
    )
