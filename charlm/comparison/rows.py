"""Rows of a comparison's report: the scores of an entry, and the order of entries."""

from collections.abc import Sequence
from statistics import median

from charlm.cells.names import cell_label
from charlm.comparison.entries import Entry
from charlm.comparison.outcomes import RunOutcome
from charlm.comparison.paired_sample import summarize_seeds
from charlm.results.comparison import EntryRow, MemoryProfile, Unit
from charlm.results.verdicts import Judged, Memory, SeedSummary

NO_PROFILE = MemoryProfile()


def summarize_entry(
    entry: Entry,
    outcomes: Sequence[RunOutcome],
    quality: Judged | None,
    memory: Memory | None,
    profile: MemoryProfile = NO_PROFILE,
) -> EntryRow:
    """Return the row of an entry; without a judgement of its quality it is not judged."""
    run = entry.runs[0]
    scores = [outcome.score for outcome in outcomes]
    by_char = summarize_seeds([score.bits_per_char if score else None for score in scores])
    by_byte = summarize_seeds([score.bits_per_byte if score else None for score in scores])
    value = by_char if by_char.mean is not None else by_byte
    return EntryRow(
        name=entry.name,
        cell=cell_label(run.config.cell),
        role=entry.role,
        hidden_size=run.config.hidden_size,
        num_layers=run.config.num_layers,
        parameters=run.parameters,
        relative_error=entry.relative_error,
        state_size=run.state_size,
        flops_per_character=run.flops_per_character,
        learning_rate=median(run.config.learning_rate for run in entry.runs),
        batch_size=run.config.batch_size,
        bits_per_char=by_char,
        bits_per_byte=by_byte,
        quality=quality or Judged(value=value, ci_low=None, ci_high=None, verdict=None),
        memory=memory,
        seeds=tuple(run.config.seed for run in entry.runs),
        diverged=scores.count(None),
        runs=tuple(run.path.resolve().name for run in entry.runs),
        profile=profile,
    )


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
