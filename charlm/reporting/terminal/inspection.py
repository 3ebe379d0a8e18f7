"""An inspected run on a terminal: its bits on the text, its units, and what a word changes."""

from charlm.console import print_result
from charlm.reporting.wording.inspection import (
    character_in_context,
    describe_blanked,
    describe_change,
    describe_other_training,
    follows_feature,
    word_in_context,
)
from charlm.reporting.wording.text import describe_text_origin, token_noun
from charlm.results.inspection import (
    BlankedWord,
    InspectedModel,
    InspectionReport,
    ModelComparison,
)

MAX_WORDS = 5  # that differ most
MAX_CHARACTERS = 5  # that depend most on a blanked word


def print_inspection(report: InspectionReport) -> None:
    """Print the mean bits on the text, and a line per feature of the text that a unit follows.

    With a second run also the words that differ most; with a blanked word what it changes.
    """
    if report.comparison is None:
        print_result(describe_mean(report, describe_text_origin(report.text)))
        print_features(report)
    else:
        other = report.comparison.other
        print_result(f"both read {describe_text_origin(report.text)}")
        for model in (report, other):
            print_result(describe_mean(model, model.run))
            print_features(model)
        print_words(report.run, report.comparison)
    if report.blanked:
        print_blanked(report.blanked)


def describe_mean(model: InspectedModel, of: str) -> str:
    """Return the mean bits of a model's tokens in a line."""
    noun, count = token_noun(model.vocabulary_kind), len(model.bits)
    mean = sum(model.bits) / count
    return f"{mean:.4f} bits/{noun} on {count:,} {noun}{'s' * (count != 1)}: {of}"


def print_features(model: InspectedModel) -> None:
    """Print a line per feature of the text that a unit follows."""
    for unit in model.survey.feature_units if model.survey else []:
        if follows_feature(unit):
            position = f"layer {unit.layer}, unit {unit.unit}"
            correlation = f"correlation {unit.heldout_correlation:+.2f}"
            print_result(f"{unit.feature:<18} {position:<20} {correlation}")


def print_words(run: str, comparison: ModelComparison) -> None:
    """Print the words at which a run and another differ most."""
    print_result(f"{run:>12} {comparison.other.run:>12}  bits where they differ most")
    for word in comparison.words[:MAX_WORDS]:
        context = word_in_context(comparison.characters, word.start, word.word)
        print_result(f"{word.bits:12.2f} {word.other_bits:12.2f}  {context}")
    if caution := describe_other_training(comparison, comparison.other.run):
        print_result(caution)


def print_blanked(blanked: BlankedWord) -> None:
    """Print how much more the text behind a word costs without it, and which characters."""
    print_result(describe_blanked(blanked))
    for model in blanked.models:
        print_result(describe_change(model, blanked, model.run))
        for each in model.characters[:MAX_CHARACTERS]:
            context = character_in_context(blanked.characters, each.index)
            print_result(f"{each.change:+12.2f} ± {each.error:.2f}  {context}")
