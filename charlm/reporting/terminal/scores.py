"""Scores on a terminal: an exact one, costs by class, and scores beside it."""

from textwrap import wrap

from charlm.console import print_result
from charlm.reporting.formatting import format_fixed
from charlm.reporting.terminal.tables import NARROW, print_table, table_of
from charlm.reporting.wording.baselines import baseline_bits, describe_baseline
from charlm.reporting.wording.costs import (
    COST_HEADS,
    PROGRAMS,
    cost_rows,
    describe_dynamic_score,
    describe_program_score,
)
from charlm.reporting.wording.text import describe_text_note
from charlm.results.comparison import Unit
from charlm.results.costs import CostsByClass
from charlm.results.run import EvaluationReport, Score

INDENT = " " * 11


def print_score(report: EvaluationReport) -> None:
    """Print an exact score with all that is needed to reproduce it, and what stands beside it."""
    print_exact_score(report, report.split or "the text")
    print_result(f"weights    {report.weights_sha256} (step {report.step})")
    print_result(f"kernel     {report.kernel}")
    for note in report.notes:
        print_result(f"note: {describe_text_note(note)}")
    if report.as_program:
        score = report.as_program
        _print_beside(
            f"as {PROGRAMS[score.program]}",
            f"{score.bits_per_token:.4f} bits/token, {score.nats_per_token:.4f} nats/token",
            describe_program_score(score),
        )
    if report.dynamic:
        unit = "bits/byte" if report.dynamic.bits_per_char is None else "bits/char"
        bits = report.dynamic.bits_per_char or report.dynamic.bits_per_byte
        description = describe_dynamic_score(report.dynamic)
        _print_beside("dynamic", f"{bits:.4f} {unit}", description)
    if report.by_class:
        _print_costs_by_class(report.by_class)
    if report.baselines:
        print_result("")
        _print_baselines(report)


def print_exact_score(score: Score, part: str) -> None:
    """Print an exact score, and what was scored."""
    noun = "characters" if score.characters == score.tokens else "bytes"
    print_result(
        f"{format_fixed(score.bits_per_char)} bits/char  "
        f"{format_fixed(score.bits_per_byte)} bits/byte  "
        f"{format_fixed(score.nats_per_char)} nats/char\n"
        f"scored     {score.tokens:,} {noun} of {part}, {score.unknown_tokens:,} unknown\n"
        f"protocol   {score.protocol}\n"
        f"corpus     {score.corpus_sha256}\n"
        f"text       {score.text_sha256}"
    )


def _print_beside(name: str, number: str, description: str) -> None:
    """Print a score that is not the exact one, and how it was made."""
    print_result(f"\n{name}: {number}")
    lines = wrap(f"not comparable with the exact score; {description}", NARROW - len(INDENT))
    print_result("\n".join(INDENT + line for line in lines))


def _print_costs_by_class(costs: CostsByClass) -> None:
    for rows in (costs.classes, costs.word_positions):
        print_result("")
        table = [dict(zip(COST_HEADS, row, strict=True)) for row in cost_rows(rows)]
        if table:
            print_table(table_of(table, [COST_HEADS[0]]))


def _print_baselines(report: EvaluationReport) -> None:
    """Print the baselines of a test split, and the run among them."""
    unit: Unit = "bits_per_byte" if report.bits_per_char is None else "bits_per_char"
    score = report.bits_per_byte if report.bits_per_char is None else report.bits_per_char
    print_result(f"{score:8.4f}  this run")
    for baseline in report.baselines:
        bits = format_fixed(baseline_bits(baseline, unit))
        first, *more = wrap(describe_baseline(baseline), NARROW - 24)
        print_result(f"{bits:>8}  {baseline.name:<13} {first}")
        for line in more:
            print_result(" " * 24 + line)
