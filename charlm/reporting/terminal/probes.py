"""Probe results on a terminal."""

from collections.abc import Iterator

from charlm.console import print_result
from charlm.results.probes import NotApplicable, Outcome, ProbesReport, ScalarResult


def print_probes(report: ProbesReport) -> None:
    """Print a block per probe: its numbers for each run, or why it does not apply."""
    for name, probe in report.probes.items():
        print_result(f"{name}: {probe.documentation.question}")
        for run, outcome in probe.outcomes.items():
            for label, text in _outcome_lines(run, outcome):
                print_result(f"  {label:<14} {text}")


def _outcome_lines(run: str, outcome: Outcome) -> Iterator[tuple[str, str]]:
    if isinstance(outcome, NotApplicable):
        yield run, f"not applicable: {outcome.reason}"
        return
    for number in outcome.result.numbers:
        yield number.run or run, f"{number.name}: {_format_scalar(number)}"


def _format_scalar(number: ScalarResult) -> str:
    if number.value is None:
        return number.note or "-"
    text = f"{number.value:,.4g} {number.unit}"
    if number.low is not None and number.high is not None:
        text += f" ({number.low:,.4g} to {number.high:,.4g})"
    return f"{text}; {number.note}" if number.note else text
