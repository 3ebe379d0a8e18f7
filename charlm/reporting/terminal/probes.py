"""Probe results on a terminal."""

from collections.abc import Iterator

from charlm.console import fold, print_result
from charlm.reporting.formatting import (
    format_duration,
    format_number,
    format_size,
    format_with_interval,
    pluralize,
)
from charlm.reporting.terminal.memory_profile import print_memory_profile
from charlm.reporting.terminal.tables import (
    add_row,
    make_table,
    print_paragraphs,
    print_table,
    text_width,
)
from charlm.reporting.wording.matching import describe_parallel_runs
from charlm.reporting.wording.memory_profile import memory_profile
from charlm.reporting.wording.probes import describe_memory, describe_reason, describe_remark
from charlm.reporting.wording.text import token_noun
from charlm.results.probe_plan import ProbeEstimate
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
                print_result("\n".join(fold(line, text_width(), indent)))
    print_memory_profile(memory_profile(report), "run", noun)


def print_probe_estimate(estimate: ProbeEstimate) -> None:
    """Print what a probing would take, in all and for each probe."""
    left = [probe for probe in estimate.probes if not probe.is_done]
    if left:
        parallel = describe_parallel_runs(estimate.parallel_runs, estimate.device)
        work = (
            f"about {format_duration(estimate.seconds)} ({format_duration(estimate.cpu_seconds)} "
            f"of CPU time) for {pluralize(len(left), 'measurement')}, {parallel}; "
            f"{format_size(estimate.disk_bytes)} of disk"
        )
    else:
        work = "nothing: all is done"
    print_paragraphs(
        [
            f"It takes {work}. Available: {format_size(estimate.available_disk_bytes)}.",
            f"It would read {estimate.characters:,} tokens of the {estimate.split} split, and "
            f"write into {estimate.out}.",
        ]
    )
    print_result("")
    left_aligned = ("run", "cell", "probe")
    table = make_table((*left_aligned, "done", "CPU time", "disk"), left_aligned)
    for probe in estimate.probes:
        add_row(
            table,
            (
                probe.run,
                probe.cell,
                probe.probe,
                "yes" if probe.is_done else "no",
                format_duration(probe.cpu_seconds),
                format_size(probe.disk_bytes),
            ),
        )
    print_table(table)
    print_result("")
    print_paragraphs(
        [
            "Time: on idle cores, by the speed at which each model reads, measured now. That of "
            "memory probes is counted by the tokens that they read; that of the others is rough."
        ]
    )


def _outcome_lines(run: str, outcome: Outcome, noun: str) -> Iterator[tuple[str, str]]:
    if isinstance(outcome, NotApplicable):
        yield run, f"not applicable: {describe_reason(outcome.reason, noun)}"
        return
    for number in outcome.result.numbers:
        yield run, f"{number.name}: {_format_scalar(number)}"


def _format_scalar(number: ScalarResult) -> str:
    remark = describe_remark(number, number.unit)
    if number.value is None:
        return remark or "-"
    unit = number.unit.removesuffix("s") if number.value == 1 else number.unit
    if number.low is None or number.high is None:
        text = f"{format_number(number.value)} {unit}"
    else:
        value, interval = format_with_interval(number.value, number.low, number.high)
        text = f"{value} {unit} ({interval})"
    return f"{text}; {remark}" if remark else text
