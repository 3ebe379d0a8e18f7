"""Comparison reports: rows, units, times and verdicts from the reports of runs."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from comparison_plans import TEXT, run_report
from conftest import ENVIRONMENT

from charlm.comparison.entries import Entry, PlannedRun
from charlm.comparison.environments import merge_environments
from charlm.comparison.outcomes import RunOutcome
from charlm.comparison.paired_sample import summarize_seeds
from charlm.comparison.report import judge_quality
from charlm.comparison.rows import score_unit, sort_rows, summarize_entry
from charlm.comparison.timing import summarize_timing
from charlm.config import FORMAT_VERSION, Config
from charlm.results.comparison import EntryRow
from charlm.results.run import KernelReason, RunRecord, Score
from charlm.results.timing import CellTiming
from charlm.results.verdicts import SeedSummary

Bits = Sequence[float | None]


def score(bits: float, seed: int) -> Score:
    return Score(
        bits_per_char=bits,
        bits_per_byte=bits / 2,
        nats_per_char=bits,
        characters=20_000,
        bytes=40_000,
        tokens=20_000,
        unknown_tokens=0,
        protocol="one-stream",
        corpus_sha256="ab" * 32,
        text_sha256="cd" * 32,
        block_bits=tuple(1000 * (bits + (block % 3 + seed % 2) / 1e4) for block in range(20)),
        unit_kind="block",
        block_lengths=(1000,) * 20,
    )


def outcome(cell: str, bits: float | None, seed: int) -> RunOutcome:
    config = Config(cell="gru", hidden_size=8, seed=seed)
    record = RunRecord(
        format=FORMAT_VERSION,
        config=config,
        text=TEXT,
        max_steps=9,
        kernel="loop",
        kernel_reason=KernelReason("fastest"),
        parameters=990,
        state_size=8,
        environment=ENVIRONMENT,
    )
    report = run_report(record, None if bits is None else score(bits, seed))
    planned = PlannedRun(config, Path(f"{cell}-s{seed}"), 9, 990, 8, 990)
    return RunOutcome(planned, record, None if bits is None else report)


def outcomes(cell: str, bits: Bits) -> list[RunOutcome]:
    return [outcome(cell, value, seed) for seed, value in enumerate(bits)]


def row(cell: str, bits: Bits) -> EntryRow:
    runs = outcomes(cell, bits)
    entry = Entry(cell, "cell", -0.01, tuple(run.planned for run in runs))
    return summarize_entry(entry, runs, None, None)


def test_row_has_mean_and_range_of_its_seeds() -> None:
    gru = row("gru", [2.0, 2.5, 3.0])
    assert gru.bits_per_char == SeedSummary(
        mean=2.5, median=2.5, min=2.0, max=3.0, per_seed=(2.0, 2.5, 3.0)
    )
    assert gru.bits_per_byte.mean == 1.25
    assert gru.relative_error == -0.01


def test_row_has_the_cell_of_its_runs_whatever_its_name() -> None:
    runs = outcomes("gru", [2.0])
    named = Entry("lstm", "cell", None, tuple(run.planned for run in runs))
    entry = summarize_entry(named, runs, None, None)
    assert (entry.name, entry.cell) == ("lstm", "gru")


def test_times_are_separate_and_of_finished_runs() -> None:
    runs = outcomes("gru", [2.0, None, 3.0])
    reports = [run.report for run in runs if run.report]
    timing = summarize_timing(reports)
    assert timing == CellTiming(seconds_per_million=10_000.0, minutes=1.0)
    assert not set(EntryRow.__struct_fields__) & set(CellTiming.__struct_fields__)
    assert summarize_timing([]) == CellTiming(seconds_per_million=None, minutes=None)


def test_rows_are_sorted_by_mean_and_those_without_come_last() -> None:
    rows = [row("far", [2.4, 2.5]), row("lost", [None, None]), row("near", [2.1, 2.3])]
    rows.append(row("first", [2.0, None]))
    assert [entry.name for entry in sort_rows(rows)] == ["first", "near", "far", "lost"]
    assert rows[1].bits_per_char.mean is None and rows[1].diverged == 2
    assert rows[3].bits_per_char.median == 2.0 and rows[3].diverged == 1


def labels(bits: dict[str, Bits], reference: str = "base") -> dict[str, str]:
    judgement = judge_quality(
        {cell: outcomes(cell, values) for cell, values in bits.items()}, reference, 0.01
    )
    return {
        cell: judged.verdict.label for cell, judged in judgement.cells.items() if judged.verdict
    }


def test_labels_follow_seeds_and_units() -> None:
    seeds = [2.0, 2.1, 2.2, 2.3, 2.4, 2.5]
    near = [bits + 0.001 + seed / 1e4 for seed, bits in enumerate(seeds)]
    far = [bits + 0.1 + seed / 100 for seed, bits in enumerate(seeds)]
    wild = [bits + (-1) ** seed * 0.1 for seed, bits in enumerate(seeds)]
    bits: dict[str, Bits] = {"far": far, "base": seeds, "near": near, "wild": wild}
    expected = {"near": "equivalent", "wild": "inconclusive"}
    assert labels(bits) == {**expected, "base": "reference", "far": "worse"}
    other = labels(bits, "far")  # the order of cells and rows does not matter
    assert other["base"] == other["near"] == "better" and other["far"] == "reference"


def test_all_runs_may_diverge_and_the_report_is_still_made() -> None:
    lost: dict[str, Bits] = {"base": [None] * 6, "other": [None] * 6}
    assert labels(lost)["base"] == "diverged"
    judgement = judge_quality({cell: outcomes(cell, lost[cell]) for cell in lost}, "base", 0.01)
    assert judgement.cells["other"].value.mean is None
    assert row("lost", lost["other"]).diverged == 6


def test_bytes_that_are_no_text_are_ordered_per_byte() -> None:
    unknown = summarize_seeds([None, None])
    rows = [
        msgspec.structs.replace(entry, bits_per_char=unknown)
        for entry in (row("a", [2.0, 2.2]), row("b", [1.0, 1.2]))
    ]
    assert score_unit(rows) == "bits_per_byte"
    assert [entry.name for entry in sort_rows(rows)] == ["b", "a"]
    assert score_unit([row("a", [2.0, None])]) == "bits_per_char"


def test_merged_environment_names_every_different_value() -> None:
    record = outcome("gru", 1.0, 0).record
    other = msgspec.structs.replace(record.environment, threads=4)
    merged = merge_environments([record.environment, other])
    assert list(merged) == list(msgspec.structs.asdict(record.environment))
    assert (merged["threads"], merged["device"]) == ("1 or 4", "cpu")
