"""Tables of the numbers that probes measured, by cell and by run."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from charlm.reporting.formatting import format_number, format_with_interval
from charlm.reporting.wording.probes import describe_remark
from charlm.results.probes import ProbeResult, ScalarResult

Scalars = dict[str, ScalarResult]  # by name and unit
Row = list[str]


def scalars_by_run(results: Mapping[str, ProbeResult]) -> dict[str, Scalars]:
    """Return the numbers of each run that has any."""
    return {
        run: {
            f"{number.name}, {number.unit}" if number.unit else number.name: number
            for number in result.numbers
        }
        for run, result in results.items()
        if result.numbers
    }


def group_runs(runs: Iterable[str], cells: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the runs of each cell; a name without a cell belongs to the cell ""."""
    groups: dict[str, list[str]] = {}
    for run in runs:
        groups.setdefault(cells.get(run, ""), []).append(run)
    return groups


def scalar_table(
    by_run: Mapping[str, Scalars], groups: Mapping[str, Sequence[str]]
) -> tuple[Row, list[Row]]:
    """Return heads and rows: a row for each number, a column for each group of runs."""
    names = dict.fromkeys(name for scalars in by_run.values() for name in scalars)
    rows = [
        [
            name,
            *(
                format_scalars([by_run[run][name] for run in runs if name in by_run[run]])
                for runs in groups.values()
            ),
        ]
        for name in names
    ]
    return ["", *groups], rows


def format_scalars(scalars: Sequence[ScalarResult]) -> str:
    """Return a number with its interval; or the mean of several, and each of them."""
    if not scalars:
        return "–"
    texts = [
        describe_remark(scalar) or "–" if scalar.value is None else format_number(scalar.value)
        for scalar in scalars
    ]
    if len(scalars) > 1:
        values = [scalar.value for scalar in scalars if scalar.value is not None]
        if len(values) < len(scalars):  # one is beyond the range: there is no mean
            return ", ".join(texts)
        return f"{format_number(fmean(values))} ({', '.join(texts)})"
    (scalar,) = scalars
    if scalar.value is not None and scalar.low is not None and scalar.high is not None:
        value, interval = format_with_interval(scalar.value, scalar.low, scalar.high)
        texts = [f"{value} ({interval})"]
    if scalar.value is not None and (remark := describe_remark(scalar)):
        texts.append(remark)
    return " ".join(texts)
