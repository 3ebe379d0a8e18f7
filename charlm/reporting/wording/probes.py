"""Results of probes in words: what they found, their notes, and why one does not apply."""

from collections.abc import Sequence

from charlm.reporting.formatting import format_number, pluralize
from charlm.reporting.wording.text import token_noun
from charlm.results.probe_limits import (
    ConstantState,
    ConstantUnits,
    CountedAtEnd,
    GradientOverflow,
    NoGate,
    NoGradient,
    NoPlaces,
    NoRepeatedWords,
    NoSeparator,
    NotAccessible,
    NotApplicableReason,
    NotCommensurable,
    Note,
    NotFinite,
    PlacesLeftOut,
    PlacesTooClose,
    Projected,
    ShareKept,
    TextTooShort,
    TooFewClosers,
    TooFewLetters,
    TooFewPlaces,
    TooFewWords,
)
from charlm.results.probes import Measured, ProbesReport, ScalarResult

TEXTS = {
    "probed": "text",
    "training": "training text",
    "document": "longest document, at whose end the state is reset,",
}
BEYOND_64 = "lost beyond 64"  # name of the number in the answer


def describe_remark(number: ScalarResult, unit: str = "") -> str:
    """Return the remark on a number: that it is beyond the measured range, and the base rate.

    Args:
        number: The number.
        unit: Unit after the end of the range of a number without a value; "" where its name has it.
    """
    remarks = []
    if number.never_forgets:
        remarks.append("no forgetting")
    if number.lower_bound is not None:
        beyond = f"more than {number.lower_bound:,.0f}"
        alone = f"{beyond} {unit}".rstrip()
        remarks.append(alone if number.value is None else f"interval up to {beyond}")
    if number.base_rate is not None:
        remarks.append(f"by chance {_fixed(number.base_rate, 3)}")
    return "; ".join(remarks)


def describe_reason(reason: NotApplicableReason, noun: str = "character") -> str:
    """Return why a probe does not apply; the noun is that of a token."""
    match reason:
        case TextTooShort(text, characters, needed):
            which = TEXTS[text]
            return f"the {which} has {characters:,} {noun}s, but {needed:,} are needed"
        case TooFewPlaces(places, needed):
            return (
                f"the text has {pluralize(places, 'place')} with enough {noun}s of the same file, "
                f"or document, before and after, but {needed:,} are needed"
            )
        case PlacesTooClose(places, needed):
            return (
                f"the places with enough {noun}s of the same document before them are too close "
                f"together: a part to fit on, to stop by or to score has {places:,} of them, "
                f"but {needed:,} are needed"
            )
        case TooFewWords(places, total, window):
            return (
                f"{places:,} of {total:,} places follow two words in {window:,} {noun}s: "
                "there is nothing to shuffle"
            )
        case NoRepeatedWords(words, needed, nearest, farthest):
            return (
                f"{pluralize(words, 'rare word')} of the text come again {nearest:,} to "
                f"{farthest:,} {noun}s later, but {needed:,} are needed"
            )
        case TooFewClosers(closers, needed):
            return f"the text closes {closers:,} brackets, but {needed:,} are needed"
        case TooFewLetters(letters, needed):
            return f"the training text has {letters:,} letters, but {needed:,} are needed"
        case NoSeparator():
            return "the training text has no comma, or no space"
        case NotAccessible(part):
            return f"the model's {part} are not accessible"
        case NoGradient(source):
            return f"the {source} has no gradient at lag 0"
        case NotFinite():
            return "the model's outputs are not finite, since its training diverged"


def describe_note(note: Note, noun: str = "character") -> str:
    """Return what a reader of a figure must know; the noun is that of a token."""
    match note:
        case NoPlaces(lengths):
            listed = ", ".join(f"{length:,}" for length in lengths)
            return f"no place of the text has {listed} {noun}s and enough before them"
        case PlacesLeftOut(left_out, total, window):
            return (
                f"{left_out:,} of {total:,} places left out: fewer than two words in the "
                f"{window:,} {noun}s before"
            )
        case CountedAtEnd(counted, characters):
            return f"{counted} counted on the last {characters:,} {noun}s of the training text only"
        case NotCommensurable():
            return (
                "each curve is relative to the same model at lag 0: compare trained with "
                "untrained, and reach with reach, not amounts of two cells"
            )
        case ConstantState(stage):
            return f"state, {stage}: not shown, as it is the same at all positions"
        case GradientOverflow(curve):
            return f"{curve}: not drawn where the gradient overflows"
        case NoGate(layer):
            return f"layer {layer}: autocorrelation only, no gate keeps the state"
        case ShareKept(layer, expression):
            return f"layer {layer}: the share kept is {expression}"
        case ConstantUnits(layer, units):
            return f"layer {layer}: {units:,} units never change"
        case Projected(numbers, features):
            return f"the {numbers:,} numbers of a state are projected on {features:,} features"


def describe_memory(report: ProbesReport) -> list[tuple[str, str]]:
    """Return what the probes of memory found, a run and a sentence each; none if none ran."""
    noun = token_noun(report.text.vocabulary_kind)
    sentences = []
    for run in report.runs:
        parts = [
            *_lost_part(_numbers(report, "context-replacement", run.name), noun),
            *_word_part(_numbers(report, "repeated-words", run.name), noun),
            *_order_part(_numbers(report, "context-shuffle", run.name), noun),
        ]
        if parts:
            *others, last = parts
            sentence = f"{', '.join(others)}, and {last}" if others else last
            sentences.append((run.name, f"{run.name} {sentence}."))
    return sentences


def _numbers(report: ProbesReport, probe: str, run: str) -> Sequence[ScalarResult]:
    summary = report.probes.get(probe)
    outcome = summary.outcomes.get(run) if summary else None
    return outcome.result.numbers if isinstance(outcome, Measured) else ()


def _fixed(value: float | None, digits: int) -> str:
    """Return so many decimals; no sign before zero."""
    text = f"{value or 0.0:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def _interval(number: ScalarResult, digits: int) -> str:
    if number.low is None or number.high is None:
        return ""
    return f" ({_fixed(number.low, digits)} to {_fixed(number.high, digits)})"


def _lost_part(numbers: Sequence[ScalarResult], noun: str) -> list[str]:
    return [
        f"loses {_fixed(number.value, 3)} bits per {noun}{_interval(number, 3)} if all further "
        f"back than 64 {noun}s is other text"
        for number in numbers
        if number.name == BEYOND_64 and number.value is not None
    ]


def _word_part(numbers: Sequence[ScalarResult], noun: str) -> list[str]:
    return [
        f"saves {_fixed(number.value, 3)} bits{_interval(number, 3)} on a rare word that it read "
        f"64 to 1,024 {noun}s before"
        for number in numbers[:1]
        if number.value is not None
    ]


def _order_part(numbers: Sequence[ScalarResult], noun: str) -> list[str]:
    if not numbers:
        return []
    number = numbers[0]
    if number.value is None:
        beyond = format_number(number.lower_bound)
        return [f"uses the order of words more than {beyond} {noun}s back"]
    return [f"uses the order of words up to {number.value:.0f} {noun}s back{_interval(number, 0)}"]
