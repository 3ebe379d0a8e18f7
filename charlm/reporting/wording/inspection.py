"""Captions of units, and sentences about two models and about a blanked word.

Nothing is said that the numbers do not support: the thresholds are named here.
"""

from collections.abc import Sequence

from charlm.reporting.formatting import VISIBLE_SPACE, format_signed, pluralize
from charlm.results.inspection import (
    BlankedWord,
    FeatureUnit,
    GateInEpisodes,
    ModelChange,
    ModelComparison,
    UnitEpisodes,
)

MIN_CORRELATION = 0.2  # on the test split, of a unit that is said to follow a feature
MIN_CHANGE = 0.5  # standard deviations, of a unit that is said to rise or fall
MIN_ERRORS = 3.0  # standard errors of that change
MIN_GATE_CHANGE = 0.2  # of a gate that is said to open or close
MIN_DIFFERENCE = 0.1  # bits, of a character that is said to cost one of two models less
CONTEXT = 16  # characters before one that is named
BEGINNINGS = {  # feature -> when it begins, and what its episodes are called
    "inside a quote": ("a quote opens", "quotes"),
    "bracket depth": ("a bracket opens", "bracketed passages"),
    "indentation": ("an indented line begins", "indented lines"),
    "end of a word": ("a word ends", "words"),
}
ALONG = {  # feature -> where a unit is high whose correlation is positive
    "inside a quote": "inside quotes",
    "bracket depth": "where more brackets are open",
    "indentation": "in lines that are indented more",
    "column": "further along the line",
    "end of a word": "at the last letter of a word",
}


def describe_feature_unit(unit: FeatureUnit) -> str:
    """Return what a unit does at a feature of the text, as far as the test split shows it."""
    correlation = f"{format_signed(unit.heldout_correlation)} on the test split"
    if not follows_feature(unit):
        return (
            f"It was selected for {unit.feature} on the validation split, but does not follow it: "
            f"the correlation is {correlation}."
        )
    side = "high" if unit.heldout_correlation > 0 else "low"
    sentences = [f"It is {side} {ALONG[unit.feature]} (correlation {correlation})."]
    if unit.in_episodes:
        sentences += describe_episodes(unit, unit.in_episodes)
    return " ".join(sentences)


def follows_feature(unit: FeatureUnit) -> bool:
    """Return whether a unit follows its feature on the test split, too."""
    has_same_sign = unit.heldout_correlation * unit.selection_correlation > 0
    return has_same_sign and abs(unit.heldout_correlation) >= MIN_CORRELATION


def describe_episodes(unit: FeatureUnit, episodes: UnitEpisodes) -> list[str]:
    """Return what the unit does as the feature begins and while it lasts; [] if nothing is sure."""
    begins, plural = BEGINNINGS[unit.feature]
    change = episodes.change_at_start
    goes_with_feature = change * unit.heldout_correlation > 0
    is_sure = abs(change) >= max(MIN_CHANGE, MIN_ERRORS * episodes.change_error)
    if not (is_sure and goes_with_feature):
        return []
    verb, side = ("rises", "high") if change > 0 else ("falls", "low")
    sentence = f"It {verb} {'one character after ' if episodes.delay else 'when '}{begins}"
    if episodes.median_hold >= 1 and episodes.median_length > 1:
        sentence += (
            f", and stays {side} for {episodes.median_hold:g} characters: the median of "
            f"{episodes.episodes:,} {plural}, which are {episodes.median_length:g} long"
        )
    gates = [described for gate in episodes.gates if (described := describe_gate(gate))]
    return [f"{sentence}.", *([f"There its {join(gates)}."] if gates else [])]


def describe_gate(gate: GateInEpisodes) -> str:
    """Return that a gate opens or closes as the feature begins; "" if it does neither."""
    if abs(gate.at_start - gate.outside) < MIN_GATE_CHANGE:
        return ""
    verb = "opens" if gate.at_start > gate.outside else "closes"
    name = gate.description.partition(":")[0]
    return f"{name} {verb} ({gate.at_start:.2f}, elsewhere {gate.outside:.2f})"


def describe_comparison(comparison: ModelComparison, names: Sequence[str], noun: str) -> str:
    """Return which of two models needs fewer bits for the text, in a sentence.

    Args:
        comparison: The two models.
        names: Their names.
        noun: What a character is called.
    """
    count = len(comparison.bits)
    means = [sum(bits) / count for bits in (comparison.bits, comparison.other_bits)]
    gains = [other - own for own, other in zip(comparison.bits, comparison.other_bits, strict=True)]
    cheaper = [sum(sign * gain >= MIN_DIFFERENCE for gain in gains) for sign in (1, -1)]
    best = 0 if means[0] <= means[1] else 1
    if means[0] == means[1]:
        return f"Both need {means[0]:.4f} bits per {noun}."
    return (
        f"{names[best]} needs {means[best]:.4f} bits per {noun}, {names[1 - best]} "
        f"{means[1 - best]:.4f}. {names[best]} is better by {MIN_DIFFERENCE} bits or more at "
        f"{cheaper[best]:,} of {count:,} {noun}s, {names[1 - best]} at {cheaper[1 - best]:,}. "
        "One short text of one pair of runs says nothing about their cells."
    )


def describe_other_training(comparison: ModelComparison, other: str) -> str:
    """Return a caution if the text may be known to one of the models; "" if it is not."""
    if comparison.has_same_splits:
        return ""
    return (
        f"{other} was trained on another text, or on another part of it. It may have read this "
        "text in training, or nothing like it."
    )


def describe_blanked(blanked: BlankedWord) -> str:
    """Return what stands in the place of a word."""
    count = len(blanked.replacements)
    shown = ", ".join(f"“{show(text)}”" for text in blanked.replacements[:4])
    what = (
        f"{count} other words of its form"
        if blanked.replaced_by == "words"
        else f"{count} passages of its length"
    )
    which = ""
    if blanked.occurrences > 1:
        which = f" (number {blanked.occurrence} of {blanked.occurrences})"
    return (
        f"“{show(blanked.word)}”{which} was replaced by {what} from the training text, such as "
        f"{shown}, one at a time. Changes are means over them, ± one standard error."
    )


def describe_change(change: ModelChange, blanked: BlankedWord, name: str) -> str:
    """Return how much more the rest of the text costs a model of this name without the word."""
    count = len(blanked.characters) - blanked.end
    more = "more" if change.change >= 0 else "fewer"
    sentence = (
        f"Without “{show(blanked.word)}”, the {pluralize(count, 'character')} behind it "
        f"cost{'s' * (count == 1)} {name} {abs(change.change):.2f} ± {change.error:.2f} bits "
        f"{more} in all."
    )
    if not change.characters:
        return f"{sentence} No single one depends on it measurably."
    first = change.characters[0]
    place = character_in_context(blanked.characters, first.index)
    most = f"{place}: {first.change:.2f} ± {first.error:.2f} bits"
    if change.num_dependent == 1:
        return f"{sentence} One depends on it: {most}."
    return f"{sentence} {change.num_dependent:,} depend on it, most of all {most}."


def character_in_context(characters: Sequence[str], index: int) -> str:
    """Return a character behind those before it: …in the [s]."""
    start = max(0, index - CONTEXT)
    before = show("".join(characters[start:index]))
    return f"{'…' * (start > 0)}{before}[{show(characters[index])}]"


def word_in_context(characters: Sequence[str], start: int, word: str) -> str:
    """Return a word behind the characters before it: …in the [sky]."""
    before = character_in_context(characters, start).rpartition("[")[0]
    return f"{before}[{show(word)}]"


def describe_distance(first: int, last: int) -> str:
    """Return a range of distances: 5 to 16."""
    return f"{first:,}" if first == last else f"{first:,} to {last:,}"


def show(text: str) -> str:
    """Return a text on one line, with signs for line end and tabulator."""
    return "".join(VISIBLE_SPACE.get(character, character) for character in text)


def join(phrases: Sequence[str]) -> str:
    """Return phrases as a list in a sentence."""
    *rest, last = phrases
    return f"{', '.join(rest)} and {last}" if rest else last
