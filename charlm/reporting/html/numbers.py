"""The numbers that probes found, as tables: by cell, and by run."""

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from charlm.reporting.formatting import format_number

Found = dict[str, Any]  # a charlm.probe.Found as a report has it
Numbers = dict[str, dict[str, Any]]  # what it is -> a charlm.probe.Number, likewise
Row = list[str]


def scalars_by_run(found: dict[str, Found]) -> dict[str, Numbers]:
    """The numbers of each run, by what they are; those of a group say whose they are."""
    of: dict[str, Numbers] = {}
    for run, one in found.items():
        for number in one["numbers"]:
            what, unit = number["name"], number["unit"]
            whose = of.setdefault(number["run"] or run, {})
            whose[f"{what}, {unit}" if unit else what] = number
    return of


def group_runs(of: Iterable[str], cells: dict[str, str]) -> dict[str, list[str]]:
    """Cell -> its runs; what is no run's is no cell's."""
    groups: dict[str, list[str]] = {}
    for run in of:
        groups.setdefault(cells.get(run, ""), []).append(run)
    return groups


def scalar_table(of: dict[str, Numbers], groups: dict[str, list[str]]) -> tuple[Row, list[Row]]:
    """Heads and rows: a row for each number, a column for each group of runs."""
    names = dict.fromkeys(name for there in of.values() for name in there)
    rows = [
        [
            name,
            *(
                format_scalars([of[run][name] for run in runs if name in of[run]])
                for runs in groups.values()
            ),
        ]
        for name in names
    ]
    return ["", *groups], rows


def format_scalars(those: Sequence[dict[str, Any]]) -> str:
    """A number with its interval; or a mean, and each of those it is of."""
    if not those:
        return "–"
    each = [
        one["note"] or "–" if one["value"] is None else format_number(one["value"]) for one in those
    ]
    values = [one["value"] for one in those]
    if len(those) > 1:
        return (
            ", ".join(each)
            if None in values
            else f"{format_number(fmean(values))} ({', '.join(each)})"
        )
    (one,) = those
    if one["low"] is not None and one["high"] is not None:
        each.append(f"({format_number(one['low'])} to {format_number(one['high'])})")
    if one["value"] is not None and one["note"]:
        each.append(one["note"])
    return " ".join(each)
