"""Probe results on a terminal."""

from collections.abc import Iterator
from textwrap import wrap

from charlm.console import print_result
from charlm.reporting.formatting import format_number, format_with_interval
from charlm.reporting.terminal.tables import NARROW, print_paragraphs
from charlm.reporting.wording.probes import describe_memory, describe_reason, describe_remark
from charlm.reporting.wording.text import token_noun
from charlm.results.probes import NotApplicable, Outcome, ProbesReport, ScalarResult


def print_probes(report: ProbesReport) -> None:
    """Print a sentence per run, and a block per probe: its numbers, or why it does not apply."""
    noun = token_noun(report.text.vocabulary_kind)
    if sentences := describe_memory(report):
        print_paragraphs(sentence for _, sentence in sentences)
        print_result("")
    for name, probe in report.probes.items():
        print_paragraphs([f"{name}: {probe.documentation.question}"])
        for run, outcome in probe.outcomes.items():
            for label, text in _outcome_lines(run, outcome, noun):
                indent = " " * 17
                line = f"  {label:<14} {text}"
                lines = wrap(line, NARROW, subsequent_indent=indent, break_on_hyphens=False)
                print_result("\n".join(lines))


def _outcome_lines(run: str, outcome: Outcome, noun: str) -> Iterator[tuple[str, str]]:
    if isinstance(outcome, NotApplicable):
        yield run, f"not applicable: {describe_reason(outcome.reason, noun)}"
        return
    for number in outcome.result.numbers:
        yield run, f"{number.name}: {_format_scalar(number)}"


def _format_scalar(number: ScalarResult) -> str:
    remark = describe_remark(number)
    if number.value is None:
        return remark or "-"
    unit = number.unit.removesuffix("s") if number.value == 1 else number.unit
    if number.low is None or number.high is None:
        text = f"{format_number(number.value)} {unit}"
    else:
        value, interval = format_with_interval(number.value, number.low, number.high)
        text = f"{value} {unit} ({interval})"
    return f"{text}; {remark}" if remark else text
