"""Matched budgets and differing settings in words."""

from charlm.config import option_name
from charlm.reporting.formatting import format_count, format_duration, pluralize
from charlm.reporting.wording.tuning import format_setting
from charlm.results.comparison import ComparisonReport
from charlm.results.comparison_plan import Matching, PlannedEntry, QuantityRange, RemainingWork

MEASURES = {
    "params": "parameters",
    "flops": "FLOPs per character",
    "state": "floats of state",
}


QUANTITIES = {
    "parameters": "parameters",
    "flops_per_character": "FLOPs per character",
    "state_size": "floats of state",
    "max_steps": "steps",
    "characters_read": "characters read",
}


def describe_matching(matching: Matching) -> str:
    """Return the matched quantity and its tolerance, or which quantities of runs are equal."""
    tolerance = f"within {100 * matching.tolerance:g} %"
    if matching.measure is None:
        equal, unequal = (
            [item for item in matching.quantities if item.is_equal is flag]
            for flag in (True, False)
        )
        text = "These are existing runs: nothing was matched"
        if equal:
            text += f"; equal {tolerance}: {', '.join(QUANTITIES[item.name] for item in equal)}"
        if unequal:
            text += f"; not equal: {', '.join(map(_describe_range, unequal))}"
        return text
    lstm = f"as an LSTM of {matching.parameters:,} parameters"
    if matching.measure == "time":
        error = matching.max_relative_error or 0.0
        return f"All cells take the same time per step (as measured, within {error:.1%}), {lstm}"
    text = f"All cells have {matching.amount:,.0f} {MEASURES[matching.measure]} ({tolerance})"
    return text if matching.measure == "params" else f"{text}, {lstm}"


def format_planned_error(entry: PlannedEntry) -> str:
    """Return how far an entry misses the matched budget, with its own tolerance if it has one."""
    if entry.relative_error is None:
        return "-"
    error = f"{entry.relative_error:+.2%}"
    return error if entry.tolerance is None else f"{error}, within {100 * entry.tolerance:g} %"


def _describe_range(quantity: QuantityRange) -> str:
    low, high = format_count(quantity.min), format_count(quantity.max)
    return f"{QUANTITIES[quantity.name]} ({low} to {high})"


def describe_differences(report: ComparisonReport) -> str:
    """Return the settings in which existing runs differ; "" if there are none."""
    settings = [
        f"{option_name(name)} "
        + ", ".join(f"{format_setting(value)} ({entry})" for entry, value in values.items())
        for name, values in (report.differing_settings or {}).items()
    ]
    return f". They differ in {'; '.join(settings)}" if settings else ""


def describe_parallel_runs(number: int, device: str, is_limited_by_memory: bool = False) -> str:
    """Return how many runs go on in parallel, and whether memory limits them."""
    limit = ": no more fit into memory" if is_limited_by_memory else ""
    return f"{number} in parallel on {device}{limit}"


def describe_work(work: RemainingWork, parallel: str) -> str:
    """Return time and disk of all that remains to be done."""
    if not work.runs:
        return "nothing: all is done"
    return (
        f"about {format_duration(work.seconds)} for {pluralize(work.runs, 'job')}, {parallel}; "
        f"{work.disk_bytes / 1e6:,.0f} MB of disk, {work.memory_bytes / 1e9:,.2f} GB of memory"
    )
