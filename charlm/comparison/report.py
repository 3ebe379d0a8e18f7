"""Comparison report: runs that have ended -> the structs of report.json and timing.json.

The report is a function of the runs alone: its bytes do not depend on where, in which order and
with how many interruptions they were made. Everything that a clock decides is in timing.json.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import msgspec
import numpy as np

from charlm.comparison.entries import Entry, PlannedRun, shared_settings
from charlm.comparison.samples import sample_text
from charlm.comparison.verdicts import SIGNIFICANCE_LEVEL, compute_verdicts
from charlm.config import FORMAT_VERSION
from charlm.evaluation.scoring import STREAMING_PROTOCOL
from charlm.results.comparison import (
    BaselineResult,
    CellTiming,
    ComparisonKind,
    ComparisonReport,
    ComparisonResult,
    EntryRow,
    Matching,
    ScoredCorpus,
    SeedSummary,
    Statistics,
    TimingReport,
    Unit,
    Verdict,
)
from charlm.results.probes import ProbesReport
from charlm.results.run import Environment, RunRecord, RunReport, Score
from charlm.results.tuning import Setting, TuningReport
from charlm.runs.metrics import load_validation_curve
from charlm.runs.run import Run
from charlm.storage import files
from charlm.storage.json_files import encode_json


class RunOutcome(msgspec.Struct, frozen=True):
    """A run that has ended: its report, or None if it diverged."""

    planned: PlannedRun
    record: RunRecord
    report: RunReport | None

    @property
    def score(self) -> Score | None:
        """Its score; None if it diverged."""
        return self.report.score if self.report else None


Outcomes = Mapping[str, Sequence[RunOutcome]]  # entry -> one outcome per seed


def load_outcomes(entries: Sequence[Entry]) -> Outcomes:
    """Read the runs of entries, all of which have ended."""
    return {entry.name: [load_outcome(run) for run in entry.runs] for entry in entries}


def load_outcome(planned: PlannedRun) -> RunOutcome:
    """Read a run that has ended."""
    run = Run(planned.path)
    return RunOutcome(planned, run.record, run.report)


def build_report(
    kind: ComparisonKind,
    entries: Sequence[Entry],
    outcomes: Outcomes,
    *,
    matching: Matching,
    reference: str,
    margin: float,
    baselines: Sequence[BaselineResult] = (),
    tuning: TuningReport | None = None,
    differing_settings: dict[str, dict[str, Setting]] | None = None,
) -> ComparisonReport:
    """Return report.json of a comparison.

    Args:
        kind: Of comparison.
        entries: All entries.
        outcomes: Entry -> its runs.
        matching: What the cells have in common.
        reference: Cell that the others are compared with.
        margin: Smallest relevant difference in bits per character.
        baselines: Reference scores of the same text.
        tuning: The search, if there was one.
        differing_settings: Of existing runs: setting -> entry -> value.
    """
    cells = [entry.name for entry in entries if entry.role == "cell"]
    verdicts, blocks = judge({name: outcomes[name] for name in cells}, reference, margin)
    rows = [
        summarize_entry(entry, outcomes[entry.name], verdicts.get(entry.name)) for entry in entries
    ]
    searched = list(tuning.search.space) if tuning else []
    return ComparisonReport(
        format=FORMAT_VERSION,
        kind=kind,
        protocol=STREAMING_PROTOCOL,
        corpus=_scored_corpus(outcomes),
        matching=matching,
        settings=shared_settings(
            [outcome.record.config for name in cells for outcome in outcomes[name]], searched
        ),
        differing_settings=differing_settings,
        tuning=tuning,
        environment=merge_environments(outcome.record for outcome in _flatten(outcomes)),
        unit=score_unit(rows),
        statistics=Statistics(
            reference=reference,
            margin=margin,
            level=SIGNIFICANCE_LEVEL,
            correction="Holm",
            blocks=blocks,
        ),
        rows=sort_rows(rows),
        baselines=tuple(baselines),
    )


def _flatten(outcomes: Outcomes) -> list[RunOutcome]:
    return [outcome for runs in outcomes.values() for outcome in runs]


def _scored_corpus(outcomes: Outcomes) -> ScoredCorpus:
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
    )


def judge(outcomes: Outcomes, reference: str, margin: float) -> tuple[dict[str, Verdict], int]:
    """Return the verdict of every cell, and the number of blocks of the scored text.

    The bits of a run that diverged are infinite.
    """
    scores = [outcome.score for outcome in _flatten(outcomes)]
    lengths = np.array(next((score.block_lengths for score in scores if score), (1,)))
    infinite = np.full(len(lengths), np.inf)
    bits = {
        cell: np.array(
            [outcome.score.block_bits if outcome.score else infinite for outcome in runs]
        )
        for cell, runs in outcomes.items()
    }
    verdicts = compute_verdicts(bits, lengths, reference, margin)
    has_diverged = bool(np.isinf(bits[reference][:, 0]).any())
    verdicts[reference] = Verdict(label="diverged" if has_diverged else "reference")
    return verdicts, len(lengths) if any(scores) else 0


def summarize_entry(
    entry: Entry, outcomes: Sequence[RunOutcome], verdict: Verdict | None
) -> EntryRow:
    """Return the row of an entry; verdict None if it is not judged."""
    run = entry.runs[0]
    scores = [outcome.score for outcome in outcomes]
    return EntryRow(
        name=entry.name,
        role=entry.role,
        hidden_size=run.config.hidden_size,
        num_layers=run.config.num_layers,
        parameters=run.parameters,
        relative_error=entry.relative_error,
        state_size=run.state_size,
        flops_per_character=run.flops_per_character,
        learning_rate=run.config.learning_rate,
        bits_per_char=summarize_seeds([score.bits_per_char if score else None for score in scores]),
        bits_per_byte=summarize_seeds([score.bits_per_byte if score else None for score in scores]),
        seeds=tuple(run.config.seed for run in entry.runs),
        diverged=scores.count(None),
        runs=tuple(run.path.resolve().name for run in entry.runs),
        verdict=verdict,
    )


def summarize_seeds(values: Sequence[float | None]) -> SeedSummary:
    """Return mean, minimum and maximum over seeds; all None if a seed has no value."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return SeedSummary(mean=None, min=None, max=None, per_seed=tuple(values))
    return SeedSummary(mean=fmean(known), min=min(known), max=max(known), per_seed=tuple(values))


def score_unit(rows: Sequence[EntryRow]) -> Unit:
    """Return the unit of the table: per byte where the text is not UTF-8 and has no characters."""

    def has_scores(summary: SeedSummary) -> bool:
        return any(bits is not None for bits in summary.per_seed)

    if any(has_scores(row.bits_per_char) for row in rows):
        return "bits_per_char"
    return (
        "bits_per_byte" if any(has_scores(row.bits_per_byte) for row in rows) else "bits_per_char"
    )


def sort_rows(rows: Sequence[EntryRow]) -> tuple[EntryRow, ...]:
    """Sort rows by their mean, then by name; those without a mean come last."""
    unit = score_unit(rows)

    def sort_key(row: EntryRow) -> tuple[bool, float, str]:
        mean = (row.bits_per_byte if unit == "bits_per_byte" else row.bits_per_char).mean
        return mean is None, mean or 0.0, row.name

    return tuple(sorted(rows, key=sort_key))


def merge_environments(records: Iterable[RunRecord]) -> dict[str, str]:
    """Return the environment of all runs; values that differ are joined by "or"."""
    environments = [record.environment for record in records]
    values = {
        name: {str(getattr(environment, name)) for environment in environments}
        for name in Environment.__struct_fields__
    }
    return {name: " or ".join(sorted(different)) for name, different in values.items()}


def build_timing_report(outcomes: Outcomes, command: str) -> TimingReport:
    """Return timing.json: how long runs took where they were made, and the command line."""
    return TimingReport(
        format=FORMAT_VERSION,
        command=command,
        cells={
            name: summarize_timing([run.report for run in runs if run.report])
            for name, runs in outcomes.items()
        },
    )


def summarize_timing(reports: Sequence[RunReport]) -> CellTiming:
    """Return the mean times of finished runs."""
    if not reports:
        return CellTiming(seconds_per_million=None, minutes=None)
    return CellTiming(
        seconds_per_million=fmean(1e6 / report.chars_per_second for report in reports),
        minutes=fmean(report.seconds for report in reports) / 60,
    )


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


def write_reports(directory: Path, result: ComparisonResult) -> None:
    """Write report.json and timing.json."""
    files.write_atomic(directory / "report.json", encode_json(result.report))
    files.write_atomic(directory / "timing.json", encode_json(result.timing))
