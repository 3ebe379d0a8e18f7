"""An inspected run on a terminal: its bits on the text, and the units that follow features."""

from charlm.console import print_result
from charlm.reporting.wording.text import describe_text_origin, token_noun
from charlm.results.inspection import InspectionReport


def print_inspection(report: InspectionReport) -> None:
    """Print the mean bits on the text, and a line per feature of the text that a unit follows."""
    noun, count = token_noun(report.vocabulary_kind), len(report.bits)
    mean = sum(report.bits) / count
    origin = describe_text_origin(report.text)
    print_result(f"{mean:.4f} bits/{noun} on {count:,} {noun}{'s' * (count != 1)}: {origin}")
    for unit in report.survey.feature_units if report.survey else []:
        position = f"layer {unit.layer}, unit {unit.unit}"
        correlation = f"correlation {unit.heldout_correlation:+.2f}"
        print_result(f"{unit.feature:<18} {position:<20} {correlation}")
