"""Notes about an inspected run: characters that a model does not know, a word that stands twice."""

from charlm.console import print_message
from charlm.reporting.terminal.notes import print_unknown
from charlm.reporting.wording.inspection import show
from charlm.results.inspection import InspectionReport


def print_inspection_notes(report: InspectionReport) -> None:
    """Print what a reader of the results must know, on stderr."""
    models = [report, *([report.comparison.other] if report.comparison else [])]
    for model in models:
        pairs = zip(model.tokens, model.is_unknown, strict=True)
        unknown = dict.fromkeys(token for token, is_unknown in pairs if is_unknown)
        print_unknown(list(unknown), model.run)
    blanked = report.blanked
    if blanked and blanked.occurrences > 1:
        following = blanked.occurrence % blanked.occurrences + 1
        print_message(
            f"note: “{show(blanked.word)}” stands in the text {blanked.occurrences} times, and "
            f"number {blanked.occurrence} is replaced. --occurrence {following} replaces "
            f"number {following}"
        )
