"""The answer of a comparison in one sentence: which cell predicts best, which remembers most.

A cell is called best only if its interval to every other cell says so.
"""

from charlm.reporting.wording.quantities import (
    MEMORY,
    describe_lead,
    find_verdict,
    format_difference,
    format_difference_interval,
    format_interval,
    format_margin,
    format_quantity,
    judged_quantity,
    list_names,
    mean,
    quantity_description,
    quantity_unit,
    rank_cells,
    verdict_word,
)
from charlm.results.comparison import ComparisonReport, EntryRow
from charlm.results.verdicts import JudgedQuantity


def answer_comparison(report: ComparisonReport) -> str:
    """Return the answer in one sentence."""
    if not rank_cells(report, "bits_per_char"):
        return "No cell has a result: all seeds of all cells diverged."
    clauses = [_quality_clause(report), _memory_clause(report)]
    return "; ".join(clause for clause in clauses if clause) + "."


def leading_cells(report: ComparisonReport, quantity: JudgedQuantity) -> list[EntryRow]:
    """Return the cell with the best mean, and all that are not shown to be behind it."""
    best, *others = rank_cells(report, quantity)
    return [best, *(row for row in others if not _is_ahead(report, quantity, best, row))]


def _is_ahead(
    report: ComparisonReport, quantity: JudgedQuantity, best: EntryRow, other: EntryRow
) -> bool:
    verdict = find_verdict(report, quantity, best.name, other.name)
    return verdict is not None and verdict.label == "better"


def _quality_clause(report: ComparisonReport) -> str:
    quantity: JudgedQuantity = "bits_per_char"
    ranked, leaders = rank_cells(report, quantity), leading_cells(report, quantity)
    best = leaders[0]
    if len(ranked) == 1:
        return f"{best.name} predicts with {_value(report, best, quantity)}"
    if len(leaders) == 1:
        verdict = find_verdict(report, quantity, best.name, ranked[1].name)
        assert verdict is not None
        lead = describe_lead(quantity, verdict, ranked[1].name)
        return f"{best.name} predicts best, with {_value(report, best, quantity)}, {lead}, the next"
    if not _has_word(quantity, ranked):
        return (
            f"{best.name} has the lowest mean, {_value(report, best, quantity)}, but there can be "
            "no verdict"
        )
    if _is_untested(report, best):
        return _reference_clause(report, quantity, best, "predicts")
    return _tie(report, quantity, leaders, ranked, "predict best", "predict equally well")


def _memory_clause(report: ComparisonReport) -> str:
    """Return which cell remembers most of those that were measured, and which were not."""
    quantity = next((name for name in MEMORY if rank_cells(report, name)), None)
    if quantity is None:
        return ""
    measured = [row.name for row in rank_cells(report, quantity)]
    others = [row.name for row in rank_cells(report, "bits_per_char") if row.name not in measured]
    clause = _measured_clause(report, quantity, list_names(measured) if others else "")
    if not others:
        return clause
    return f"{clause}; of {list_names(others)} that was not measured"


def _measured_clause(report: ComparisonReport, quantity: JudgedQuantity, some: str) -> str:
    """Return which cell remembers most.

    Args:
        report: The comparison.
        quantity: Of memory.
        some: Names of the cells that were measured; "" for all.
    """
    ranked, leaders = rank_cells(report, quantity), leading_cells(report, quantity)
    best = leaders[0]
    value = _value(report, best, quantity)
    meaning = quantity_description(quantity, report.unit)
    lows = [each.ci_low for row in ranked if (each := judged_quantity(row, quantity))]
    shown = {format_quantity(quantity, mean(row, quantity)) for row in ranked}
    if shown == {format_quantity(quantity, 0.0)} and not any(low and low > 0 for low in lows):
        who = f"{some} showed no memory" if some else "no cell showed any memory"
        return f"{who}: {value} {meaning}"
    if all(low is not None and low <= 0 for low in lows):
        most = f"at most {value} ({best.name}) {meaning}"
        if some:
            return f"that {some} remembered that far back is not shown: {most}"
        return f"no cell is shown to remember that far back: {most}"
    if len(ranked) == 1:
        return f"{some or 'it'} remembers {value}, {meaning}"
    if len(leaders) == 1:
        verdict = find_verdict(report, quantity, best.name, ranked[1].name)
        assert verdict is not None
        lead = describe_lead(quantity, verdict, ranked[1].name)
        is_same = best.name == leading_cells(report, "bits_per_char")[0].name
        who = "it also" if is_same else best.name
        return f"{who} remembers most: {value} {meaning}, {lead}, the next"
    if not _has_word(quantity, ranked):
        return f"{best.name} has the highest mean of memory, {value} {meaning}"
    if _is_untested(report, best):
        clause = _reference_clause(report, quantity, best, "remembers")
    else:
        clause = _tie(report, quantity, leaders, ranked, "remember most", "remember equally much")
    return f"{clause} ({meaning})"


def _tie(
    report: ComparisonReport,
    quantity: JudgedQuantity,
    leaders: list[EntryRow],
    ranked: list[EntryRow],
    best: str,
    equal: str,
) -> str:
    """Return a clause about several cells that lead together.

    Args:
        report: The comparison.
        quantity: In which they lead.
        leaders: The cells that lead, best mean first.
        ranked: All cells with a value.
        best: Verb of cells that lead before others.
        equal: Verb of cells that are all equivalent.

    Returns:
        The clause, with an interval where two cells lead.
    """
    names = list_names([row.name for row in leaders])
    unit = quantity_unit(quantity, report.unit)
    values = list_names([format_quantity(quantity, mean(row, quantity)) for row in leaders])
    verdicts = [find_verdict(report, quantity, leaders[0].name, row.name) for row in leaders[1:]]
    if all(verdict and verdict.label == "equivalent" for verdict in verdicts):
        margin = format_margin(quantity, report.statistics.margins[quantity], report.unit)
        shown = equal if len(leaders) == len(ranked) else f"{best}, equally well"
        return f"{names} {shown} within {margin} ({values})"
    if len(leaders) == len(ranked) > 2:
        return f"no cell is shown to {best}: {names} have {values} {unit}"
    shown = f"{names} {best} with {values} {unit}"
    if len(leaders) == 2 and (verdict := verdicts[0]) and verdict.ci_low is not None:
        interval = format_difference_interval(quantity, verdict)
        difference = format_difference(quantity, verdict.difference)
        return f"{shown}, a difference of {difference} {interval} that is unclear"
    return f"{shown}, and which of them leads is unclear"


def _reference_clause(
    report: ComparisonReport, quantity: JudgedQuantity, best: EntryRow, verb: str
) -> str:
    """Return a clause about the best cell against the reference, the only one tested."""
    reference = report.statistics.reference
    verdict = find_verdict(report, quantity, best.name, reference)
    assert verdict is not None
    if verdict.label == "better":
        lead = describe_lead(quantity, verdict, reference)
        return f"{best.name} {verb} better than the reference, {lead}, and has the best mean"
    difference = format_difference(quantity, verdict.difference)
    interval = format_difference_interval(quantity, verdict)
    return (
        f"{best.name} has the best mean, {difference} {interval} to {reference}, the reference: "
        f"{verdict_word(quantity, verdict) or 'no verdict'}"
    )


def _is_untested(report: ComparisonReport, best: EntryRow) -> bool:
    """Return whether this cell was tested against the reference alone, and not all others."""
    return not report.pairs and len(report.cells) > 2 and best.name != report.statistics.reference


def _has_word(quantity: JudgedQuantity, rows: list[EntryRow]) -> bool:
    measured = (judged_quantity(row, quantity) for row in rows)
    return any(verdict_word(quantity, each.verdict) for each in measured if each)


def _value(report: ComparisonReport, row: EntryRow, quantity: JudgedQuantity) -> str:
    """Return a mean with its interval and unit."""
    measured = judged_quantity(row, quantity)
    assert measured is not None
    number = format_quantity(quantity, measured.value.mean)
    interval = format_interval(quantity, measured.ci_low, measured.ci_high)
    return " ".join(filter(None, [number, interval, quantity_unit(quantity, report.unit)]))
