"""Rows of a comparison: scores, units and cells of its table."""

from charlm.reporting.formatting import format_count
from charlm.results.comparison import ComparisonReport, EntryRow, SeedSummary, Unit


def cell_rows(report: ComparisonReport) -> list[EntryRow]:
    """Return the rows of the cells, without the Transformer."""
    return [row for row in report.rows if row.role == "cell"]


def bits(row: EntryRow, unit: Unit) -> SeedSummary:
    """Return an entry's scores in this unit."""
    return row.bits_per_char if unit == "bits_per_char" else row.bits_per_byte


def short_unit(unit: Unit) -> str:
    """Return the unit as a column head."""
    return unit.replace("bits_per_", "bits/")


def long_unit(unit: Unit) -> str:
    """Return the unit in words."""
    return unit.replace("_", " ").replace("char", "character")


def format_error(row: EntryRow) -> str:
    """Return how far an entry misses the matched budget."""
    return "-" if row.relative_error is None else f"{row.relative_error:+.2%}"


def format_verdict(row: EntryRow) -> str:
    """Return the verdict on a cell in a word or three."""
    if row.diverged:
        return f"diverged {row.diverged} of {len(row.seeds)}"
    return row.verdict.label if row.verdict else "-"


def format_seed_range(row: EntryRow, unit: Unit) -> str:
    """Return the lowest and the highest seed of a cell."""
    summary = bits(row, unit)
    if summary.min is None or summary.max is None:
        return f"{row.diverged} diverged"
    return f"{summary.min:.3f}–{summary.max:.3f}"


def format_row(row: EntryRow, unit: Unit) -> dict[str, str]:
    """Return the cells of a table's row by column head."""
    mean, verdict = bits(row, unit).mean, row.verdict
    difference = interval = "-"
    if verdict and verdict.difference is not None:
        difference = f"{verdict.difference:+.3f}"
    if verdict and verdict.ci_low is not None and verdict.ci_high is not None:
        interval = f"{verdict.ci_low:+.3f}…{verdict.ci_high:+.3f}"
    return {
        "cell": row.name,
        short_unit(unit): "-" if mean is None else f"{mean:.4f}",
        "to ref.": difference,
        "95 % CI": interval,
        "verdict": format_verdict(row),
        "params": format_count(row.parameters),
        "hidden": f"{row.hidden_size}",
        "state": f"{row.state_size}",
        "FLOPs": format_count(row.flops_per_character),
    }
