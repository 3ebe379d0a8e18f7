"""Verdicts in words: their statistical method, and what is missing for one."""

from collections.abc import Mapping

from charlm.reporting.formatting import pluralize
from charlm.reporting.wording.quantities import QUANTITIES, judged_quantity
from charlm.reporting.wording.rows import cell_rows
from charlm.results.comparison import ComparisonReport
from charlm.results.text import UnitKind
from charlm.results.verdicts import InsufficientData, Power

UNIT_KINDS: Mapping[UnitKind, tuple[str, str]] = {  # one, several
    "file": ("file", "files"),
    "line": ("group of lines", "groups of lines"),
    "block": ("block", "blocks"),
}


def describe_statistics(report: ComparisonReport) -> str:
    """Return the statistical method of the verdicts."""
    statistics, seeds = report.statistics, len(cell_rows(report)[0].seeds)
    one, several = UNIT_KINDS[statistics.unit_kind]
    units = f"{statistics.units:,} {one if statistics.units == 1 else several}"
    return (
        f"Reference: {statistics.reference}. In brackets: 95 % intervals over "
        f"{pluralize(seeds, 'seed')} and {units} of the {report.corpus.scored_split} split, "
        f"paired. Verdicts: familywise error rate {100 * statistics.level:g} % for each quantity "
        f"({statistics.correction})."
    )


def describe_insufficient_data(insufficient: InsufficientData) -> str:
    """Return why there can be no verdict at all."""
    available, needed = insufficient.available, insufficient.needed
    if insufficient.cause == "reference_diverged":
        return (
            f"the reference diverged with {insufficient.diverged} of {needed} seeds: choose another"
        )
    if insufficient.cause == "seeds":
        verb = "is" if available == 1 else "are"
        diverged = insufficient.diverged
        way_out = f"; run it with --seeds {needed + diverged}" if diverged else ""
        return f"{needed} seeds or more are needed, there {verb} {available}{way_out}"
    characters = insufficient.characters_needed
    length = f"of {characters:,} characters or more" if characters else "that is longer"
    return f"a test text {length} is needed: this one has {available} of {needed} files or blocks"


def describe_power(power: Power, margin: float) -> str:
    """Return the number of seeds that would detect a difference of the margin."""
    if power.seeds is None:
        return f"the test text is too short to detect {margin:g} bits, with any number of seeds"
    return f"about {power.seeds} seeds would detect {margin:g} bits"


def verdict_notes(report: ComparisonReport) -> list[str]:
    """Return the data that a verdict would need, once for all that need the same."""
    cells_by_note: dict[str, list[str]] = {}
    for row in report.cells:
        for quantity, words in QUANTITIES.items():
            measured = judged_quantity(row, quantity)
            verdict = measured.verdict if measured else None
            if verdict and verdict.insufficient:
                note = f"no verdict: {describe_insufficient_data(verdict.insufficient)}"
            elif verdict and verdict.power and quantity == "bits_per_char":
                margin = report.statistics.margins[quantity]
                note = f"{words.title}: {describe_power(verdict.power, margin)}"
            else:
                continue
            names = cells_by_note.setdefault(note, [])
            names += [row.name] if row.name not in names else []
    return [f"{', '.join(cells)}: {note}" for note, cells in cells_by_note.items()]
