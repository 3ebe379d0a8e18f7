"""Memory of runs: what the probes wrote, judged at the same places for all runs."""

from pathlib import Path

import numpy as np
import pytest

from charlm.comparison import memory
from charlm.comparison.entries import Entry, PlannedRun
from charlm.comparison.memory import (
    MEMORY_MARGINS,
    REPLACEMENT,
    SHUFFLE,
    WORDS,
    MemoryReport,
    NoPlaces,
    Places,
    judge_memory,
    memory_curve,
    no_memory,
    read_places,
)
from charlm.config import Config
from charlm.evaluation.blocks import Numbers
from charlm.results.comparison_plan import Role
from charlm.results.probe_limits import NotFinite

SEEDS, UNITS = 6, 24
LENGTHS = {REPLACEMENT: (16, 64), SHUFFLE: (1, 4, 16, 64), WORDS: (0,)}


def entry(name: str, role: Role = "cell", seeds: int = SEEDS) -> Entry:
    runs = tuple(
        PlannedRun(Config(cell="gru", seed=seed), Path(f"{name}-s{seed}"), 9, 9, 9, 9)
        for seed in range(seeds)
    )
    return Entry(name, role, None, runs)


def places(probe: str, levels: dict[str, float]) -> Places:
    """Return places where each entry loses its level at the first length, and less further back."""
    lengths = np.array(LENGTHS[probe])
    counts = np.full((len(lengths), UNITS), 100.0)
    noise = np.random.default_rng(0).normal(0, 0.001, (SEEDS, 1, UNITS))
    falling = 0.25 ** np.arange(len(lengths))[:, None]
    sums = {name: (level * falling + noise) * counts for name, level in levels.items()}
    return Places(lengths, sums, counts)


def judged(
    monkeypatch: pytest.MonkeyPatch,
    levels: dict[str, float],
    entries: list[Entry],
    missing: dict[str, NoPlaces] | None = None,
) -> MemoryReport:
    def read(entries: object, directory: Path, probe: str) -> Places | NoPlaces:
        return (missing or {}).get(probe) or places(probe, levels)

    monkeypatch.setattr(memory, "read_places", read)
    return judge_memory(entries, Path(), "gru", "file")


def test_more_remembered_is_better_in_every_quantity(monkeypatch: pytest.MonkeyPatch) -> None:
    report = judged(monkeypatch, {"gru": 0.3, "lstm": 1.5}, [entry("gru"), entry("lstm")])
    row, reference = report.rows["lstm"], report.rows["gru"]
    for found, base in (
        (row.beyond_64, reference.beyond_64),
        (row.word_again, reference.word_again),
        (row.order_reach, reference.order_reach),
    ):
        assert found and found.verdict and found.verdict.label == "better"
        assert base and base.verdict and base.verdict.label == "reference"
    assert row.beyond_64 and row.beyond_64.value.mean == pytest.approx(1.5 / 4, abs=0.001)
    assert row.word_again and row.word_again.value.mean == pytest.approx(1.5, abs=0.001)
    assert {(pair.quantity, pair.cell, pair.other) for pair in report.pairs} == {
        (quantity, "lstm", "gru") for quantity in MEMORY_MARGINS
    }
    assert row.curve and row.curve.k == LENGTHS[REPLACEMENT] and not report.unmeasured


def test_quantity_without_places_is_named_and_the_others_are_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = {WORDS: NoPlaces("not_applicable")}
    levels = {"gru": 0.3, "lstm": 0.3}
    report = judged(monkeypatch, levels, [entry("gru"), entry("lstm")], missing)
    assert [(one.quantity, one.cause) for one in report.unmeasured] == [
        ("word_again", "not_applicable")
    ]
    row = report.rows["lstm"]
    assert row.word_again is None and row.beyond_64 and row.order_reach


def test_nothing_measured_has_one_cause_for_each_quantity(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = dict.fromkeys((REPLACEMENT, SHUFFLE, WORDS), NoPlaces("diverged"))
    report = judged(monkeypatch, {}, [entry("gru"), entry("lstm")], missing)
    assert report == no_memory("diverged") and not report.rows


def test_transformer_has_values_without_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [entry("gru"), entry("lstm"), entry("transformer", "transformer")]
    report = judged(monkeypatch, {"gru": 0.3, "lstm": 0.3, "transformer": 2.0}, entries)
    found = report.rows["transformer"]
    assert found.beyond_64 and found.beyond_64.verdict is None
    assert found.beyond_64.value.mean == pytest.approx(0.5, abs=0.001)
    assert found.order_reach and found.order_reach.value.mean and found.curve
    assert not any("transformer" in (pair.cell, pair.other) for pair in report.pairs)


def test_curve_has_values_and_intervals_at_each_length() -> None:
    curve = memory_curve(places(REPLACEMENT, {"gru": 0.4}), "gru", "file")
    assert curve.mean == pytest.approx((0.4, 0.1), abs=0.001)
    assert len(curve.per_seed) == SEEDS and len(curve.per_seed[0]) == 2
    for mean, low, high in zip(curve.mean, curve.ci_low, curve.ci_high, strict=True):
        assert mean is not None and low is not None and high is not None and low < mean < high


def test_seed_that_diverged_has_no_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays: dict[str, Numbers] = {
        "lengths": np.array([64.0]),
        "sums": np.ones((1, UNITS)),
        "counts": np.ones((1, UNITS)),
    }

    def artifacts(run: PlannedRun, *_: object) -> dict[str, Numbers] | NoPlaces:
        return NoPlaces("diverged") if run.path.name == "gru-s1" else arrays

    monkeypatch.setattr(memory, "_artifacts", artifacts)
    found = read_places([entry("gru", seeds=3)], Path(), REPLACEMENT)
    assert isinstance(found, Places) and found.sums["gru"].shape == (3, 1, UNITS)
    assert [bool(np.isnan(seed).all()) for seed in found.sums["gru"]] == [False, True, False]


def test_runs_that_a_probe_does_not_apply_to_have_their_reason_beside_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arrays = places(WORDS, {"gru": 0.3}).at(0)
    whole: dict[str, Numbers] = {
        "lengths": np.array([64.0]),
        "sums": arrays[0]["gru"][:1],
        "counts": arrays[1][None],
    }
    why = NoPlaces("not_applicable", NotFinite())
    lost = {"gru-s1": why, "gru-s2": NoPlaces("diverged"), "lstm-s0": why, "lstm-s1": why}
    lost |= {"lstm-s2": why}

    def artifacts(run: PlannedRun, *_: object) -> dict[str, Numbers] | NoPlaces:
        return lost.get(run.path.name, whole)

    monkeypatch.setattr(memory, "_artifacts", artifacts)
    monkeypatch.setattr(memory, "MEMORY_MARGINS", {"word_again": 0.1})
    entries = [entry(name, seeds=3) for name in ("gru", "lstm", "rnn")]
    report = judge_memory(entries, Path(), "gru", "file")
    assert [(one.entry, one.seeds, one.cause, one.reason) for one in report.unmeasured] == [
        ("gru", 1, "not_applicable", NotFinite()),
        ("lstm", 3, "not_applicable", NotFinite()),
    ]
    found = report.rows["lstm"].word_again
    assert found and found.value.mean is None


def test_reason_of_the_probe_is_told_before_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    def artifacts(run: PlannedRun, *_: object) -> NoPlaces:
        return NoPlaces("diverged" if run.path.name == "gru-s0" else "not_applicable")

    monkeypatch.setattr(memory, "_artifacts", artifacts)
    assert read_places([entry("gru")], Path(), WORDS) == NoPlaces("not_applicable")
