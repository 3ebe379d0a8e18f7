"""Comparison report: runs that have ended -> the structs of report.json and timing.json.

The report is a function of the runs alone: its bytes do not depend on where, in which order and
with how many interruptions they were made. Everything that a clock decides is in timing.json.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from charlm.comparison.directory import REPORT_FILE, TIMING_FILE
from charlm.comparison.entries import Entry, shared_settings
from charlm.comparison.environments import merge_environments
from charlm.comparison.memory import MEMORY_MARGINS, MemoryReport
from charlm.comparison.outcomes import Outcomes, RunOutcome
from charlm.comparison.rows import NO_PROFILE, score_unit, sort_rows, summarize_entry
from charlm.comparison.sample_size import SIGNIFICANCE_LEVEL
from charlm.comparison.samples import sample_text
from charlm.comparison.verdicts import Judgement, judge
from charlm.config import FORMAT_VERSION
from charlm.evaluation.scoring import STREAMING_PROTOCOL
from charlm.results.baselines import BaselineResult
from charlm.results.comparison import (
    Budget,
    ComparisonKind,
    ComparisonReport,
    ComparisonResult,
    MemoryProfile,
    ProfiledTask,
    ScoredCorpus,
    Statistics,
)
from charlm.results.comparison_plan import Matching
from charlm.results.probes import ProbesReport
from charlm.results.tasks import TaskComparisonResult
from charlm.results.text import TextNote, UnitKind
from charlm.results.timing import TimingReport
from charlm.results.tuning import TuningReport
from charlm.runs.metrics import load_validation_curve
from charlm.settings.values import Setting
from charlm.storage import files
from charlm.storage.json_files import seal_json


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """Findings of a comparison besides the scores of its runs.

    Attributes:
        memory: What the probes measured, judged.
        profiles: Entry -> its memory between chance and ceiling.
        profiled_tasks: Comparisons on tasks that profiles take a part from.
        budget: What parts of the budget and other learning rates did; None for existing runs.
        ngram_memory: (k, bits lost beyond k) of the n-gram.
        baselines: Reference scores of the same text.
        tuning: The search, if there was one.
        notes: Oddities of the text.
        linear_cells: Cells because of which all are in residual blocks.
        bare_linear_cells: Linear cells that are bare beside others, as requested.
        differing_settings: Of existing runs: setting -> entry -> value.
    """

    memory: MemoryReport = MemoryReport()
    profiles: Mapping[str, MemoryProfile] = {}
    profiled_tasks: tuple[ProfiledTask, ...] = ()
    budget: Budget | None = None
    ngram_memory: tuple[tuple[int, float], ...] = ()
    baselines: tuple[BaselineResult, ...] = ()
    tuning: TuningReport | None = None
    notes: tuple[TextNote, ...] = ()
    linear_cells: tuple[str, ...] = ()
    bare_linear_cells: tuple[str, ...] = ()
    differing_settings: dict[str, dict[str, Setting]] | None = None


def build_report(
    kind: ComparisonKind,
    entries: Sequence[Entry],
    outcomes: Outcomes,
    findings: Findings,
    *,
    matching: Matching,
    reference: str,
    margin: float,
) -> ComparisonReport:
    """Return report.json of a comparison.

    Args:
        kind: Of comparison.
        entries: All entries.
        outcomes: Entry -> its runs.
        findings: What was found out besides.
        matching: What the cells have in common.
        reference: Cell that the others are compared with.
        margin: Smallest relevant difference in bits per character.
    """
    cells = [entry.name for entry in entries if entry.role == "cell"]
    judgement = judge_quality({name: outcomes[name] for name in cells}, reference, margin)
    rows = [
        summarize_entry(
            entry,
            outcomes[entry.name],
            judgement.cells.get(entry.name),
            findings.memory.rows.get(entry.name),
            findings.profiles.get(entry.name, NO_PROFILE),
        )
        for entry in entries
    ]
    tuning = findings.tuning
    score = next((outcome.score for outcome in _flatten(outcomes) if outcome.score), None)
    return ComparisonReport(
        format=FORMAT_VERSION,
        kind=kind,
        protocol=_protocol(outcomes),
        corpus=_scored_corpus(outcomes, findings.notes),
        matching=matching,
        settings=shared_settings(
            [outcome.record.config for name in cells for outcome in outcomes[name]],
            list(tuning.search.space) if tuning else [],
        ),
        differing_settings=findings.differing_settings,
        tuning=tuning,
        environment=merge_environments(
            outcome.record.environment for outcome in _flatten(outcomes)
        ),
        unit=score_unit(rows),
        statistics=Statistics(
            reference=reference,
            level=SIGNIFICANCE_LEVEL,
            correction="Holm",
            units=len(score.block_lengths) if score else 0,
            unit_kind=score.unit_kind if score else "block",
            margins={"bits_per_char": margin, **MEMORY_MARGINS},
        ),
        rows=sort_rows(rows),
        pairs=(*judgement.pairs, *findings.memory.pairs),
        budget=findings.budget,
        ngram_memory=findings.ngram_memory,
        unmeasured=findings.memory.unmeasured,
        linear_cells=findings.linear_cells,
        bare_linear_cells=findings.bare_linear_cells,
        profiled_tasks=findings.profiled_tasks,
        baselines=findings.baselines,
    )


def _flatten(outcomes: Outcomes) -> list[RunOutcome]:
    return [outcome for runs in outcomes.values() for outcome in runs]


def _protocol(outcomes: Outcomes) -> str:
    """Return the protocol of all scores; those of existing runs that differ are joined by "or"."""
    scores = (outcome.score for outcome in _flatten(outcomes))
    return " or ".join(sorted({score.protocol for score in scores if score})) or STREAMING_PROTOCOL


def _scored_corpus(outcomes: Outcomes, notes: tuple[TextNote, ...]) -> ScoredCorpus:
    first, *_ = runs = _flatten(outcomes)
    scored = next((run.report for run in runs if run.score), None)
    text = first.record.text
    return ScoredCorpus(
        sources=tuple(Path(source).name or source for source in text.sources),
        sha256=text.digest.sha256,
        characters=text.characters,
        splits=text.splits,
        scored_split=scored.scored_split if scored else "test",
        scored_sha256=scored.score.text_sha256 if scored and scored.score else None,
        notes=notes,
    )


def judge_quality(outcomes: Outcomes, reference: str, margin: float) -> Judgement:
    """Judge the scores of all cells; the bits of a run that diverged are not finite."""
    scores = [outcome.score for outcome in _flatten(outcomes)]
    first = next((score for score in scores if score), None)
    lengths = np.array(first.block_lengths if first else (1,), np.float64)
    missing = np.full(len(lengths), np.nan)
    unit_kind: UnitKind = first.unit_kind if first else "block"
    bits = {
        cell: np.array([outcome.score.block_bits if outcome.score else missing for outcome in runs])
        for cell, runs in outcomes.items()
    }
    return judge(bits, lengths, reference, margin, quantity="bits_per_char", unit_kind=unit_kind)


def build_result(
    report: ComparisonReport,
    timing: TimingReport,
    entries: Sequence[Entry],
    directory: Path,
    probes: ProbesReport | None,
) -> ComparisonResult:
    """Return report and timing, with the learning curves of all runs and a sample of each cell.

    Args:
        report: Report.json.
        timing: Timing.json.
        entries: All entries.
        directory: Directory of the comparison, where samples are cached.
        probes: Report of the probes, if runs were probed.
    """
    return ComparisonResult(
        report=report,
        timing=timing,
        curves={
            entry.name: tuple(load_validation_curve(run.path) for run in entry.runs)
            for entry in entries
        },
        samples={
            entry.name: sample_text(entry.runs[0], directory / "samples")
            for entry in entries
            if entry.role == "cell"
        },
        probes=probes,
    )


def write_reports(directory: Path, result: ComparisonResult | TaskComparisonResult) -> None:
    """Write report.json and timing.json, each with its SHA-256."""
    files.write_atomic(directory / REPORT_FILE, seal_json(result.report))
    files.write_atomic(directory / TIMING_FILE, seal_json(result.timing))
