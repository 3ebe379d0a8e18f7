"""Task results in words."""

from typing import Literal

from charlm.results.tasks import TaskReport


def format_measure(value: float, unit: Literal["share", "nats", "steps"]) -> str:
    """Return the value of a task's measure: a percentage, nats, or time steps."""
    if unit == "share" and (0 < abs(value) < 0.01 or 0.99 < value < 1):  # rare errors matter
        return f"{100 * value:.3f}%"
    return {"share": f"{value:.1%}", "nats": f"{value:.3f}", "steps": f"{value:,.0f}"}[unit]


def describe_criterion(report: TaskReport) -> str:
    """Return when a length counts as solved."""
    criteria = []
    if report.solved_accuracy is not None:
        criteria.append(f"at least {100 * report.solved_accuracy:g} % of the answers are correct")
    if report.solved_relative_loss is not None:
        limit = f"at most {100 * report.solved_relative_loss:g} % of chance's"
        if any(chance.oracle.loss for chance in report.chance):
            criteria.append(f"the loss above the oracle's is {limit}")
        else:
            criteria.append(f"the loss is {limit}")
    return ", or ".join(criteria)


def format_solved_length(length: int) -> str:
    """Return a longest solved length."""
    return f"{length:,}" if length else "none"


def summarize_task_comparison(report: TaskReport) -> str:
    """Return the longest solved length in a sentence or two."""
    rows, lengths = report.rows, report.lengths
    best = rows[0].max_solved_length
    if not best:
        return f"Most seeds of each cell do not even solve length {lengths[0]:,}."
    names = ", ".join(row.name for row in rows if row.max_solved_length == best)
    seeds = len(rows[0].seeds)
    basis = f" in the lower median of {seeds} seeds" if seeds > 1 else ", with one seed"
    longest = " It is the longest length that was tried." if best == lengths[-1] else ""
    return f"{names}: up to length {best:,}{basis}.{longest}"


def describe_pairs(report: TaskReport, level: float = 0.05) -> str:
    """Return which cells differ at which length, or that this number of seeds cannot tell."""
    seeds, tests = len(report.rows[0].seeds), len(report.pairs)
    if len(report.rows) < 2:
        return ""
    if report.smallest_p * max(tests, 1) > level:
        return (
            f"No difference can be shown: with {seeds} {'seed' if seeds == 1 else 'seeds'} per "
            f"cell and {max(tests, 1)} {'test' if tests < 2 else 'tests'}, the smallest corrected "
            f"p value is {min(1.0, report.smallest_p * max(tests, 1)):.2g}."
        )
    found = [pair for pair in report.pairs if pair.p_holm <= level]
    if not found:
        return "No two cells differ at any length (Fisher's exact test, Holm)."
    rates = {row.name: row for row in report.rows}

    def survived(cell: str, length: int) -> int:
        return next(one for one in rates[cell].levels if one.length == length).num_survived

    said = (
        f"{pair.cell} and {pair.other} at length {pair.length:,} "
        f"({survived(pair.cell, pair.length)} and {survived(pair.other, pair.length)} of {seeds}, "
        f"p {pair.p_holm:.2g})"
        for pair in found
    )
    return f"They differ (Fisher's exact test, Holm): {'; '.join(said)}."


def describe_rates(report: TaskReport) -> str:
    """Return the learning rate of each cell."""
    rates = ", ".join(f"{row.name} {row.learning_rate:g}" for row in report.rows)
    return f"learning rate {rates}"
