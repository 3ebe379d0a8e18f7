"""Judged quantities in words and numbers: bits per character, and three of memory."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from charlm.results.comparison import ComparisonReport, EntryRow, Unit
from charlm.results.verdicts import Judged, JudgedQuantity, Label, Verdict

NO_NUMBER = "-"


class QuantityWords(NamedTuple):
    """Name, unit and words of a judged quantity."""

    title: str  # head of its column
    unit: str  # after a number; {unit} stands for char or byte
    description: str  # of what is measured
    factor: float  # from the unit of the report to this one
    decimals: int
    better: str  # word for a cell that has it better than the reference
    worse: str


QUANTITIES: dict[JudgedQuantity, QuantityWords] = {
    "bits_per_char": QuantityWords(
        "quality", "bits/{unit}", "of the test split", 1, 3, "better", "worse"
    ),
    "beyond_64": QuantityWords(
        "beyond 64",
        "mbit/{unit}",
        "lost when all beyond 64 {noun}s is other text",
        1000,
        0,
        "more",
        "less",
    ),
    "word_again": QuantityWords(
        "word again",
        "bits",
        "saved on a rare word read 64 to 1,024 {noun}s before",
        1,
        2,
        "more",
        "less",
    ),
    "order_reach": QuantityWords(
        "order to", "{noun}s", "within which the order of words matters", 1, 0, "more", "less"
    ),
}
MEMORY: tuple[JudgedQuantity, ...] = ("beyond_64", "word_again", "order_reach")
OPPOSITE: dict[Label, Label] = {"better": "worse", "worse": "better"}


def quantity_unit(quantity: JudgedQuantity, unit: Unit) -> str:
    """Return the unit of a quantity, such as mbit/char."""
    return _fill(QUANTITIES[quantity].unit, unit)


def quantity_description(quantity: JudgedQuantity, unit: Unit) -> str:
    """Return what a quantity measures."""
    return _fill(QUANTITIES[quantity].description, unit)


def _fill(text: str, unit: Unit) -> str:
    is_byte = unit == "bits_per_byte"
    short, noun = ("byte", "byte") if is_byte else ("char", "character")
    return text.format(unit=short, noun=noun)


def judged_quantity(row: EntryRow, quantity: JudgedQuantity) -> Judged | None:
    """Return what was measured of an entry; None if it was not."""
    if quantity == "bits_per_char":
        return row.quality
    measured: Judged | None = getattr(row.memory, quantity) if row.memory else None
    return measured


def mean(row: EntryRow, quantity: JudgedQuantity) -> float | None:
    """Return the mean of a quantity over the seeds of an entry."""
    measured = judged_quantity(row, quantity)
    return measured.value.mean if measured else None


def format_quantity(quantity: JudgedQuantity, value: float | None) -> str:
    """Return a value in the unit of its quantity; a dash for None."""
    words = QUANTITIES[quantity]
    if value is None:
        return NO_NUMBER
    rounded = round(value * words.factor, words.decimals) + 0.0  # no negative zero
    return f"{rounded:,.{words.decimals}f}"


def format_difference(quantity: JudgedQuantity, value: float | None) -> str:
    """Return a difference with its sign; of reaches, which differ in octaves, a factor."""
    if value is None:
        return NO_NUMBER
    if quantity == "order_reach":
        return f"×{format_factor(value)}"
    text = format_quantity(quantity, value)
    return f"+{text}" if text.strip("-0.,") and value > 0 else text


def format_factor(octaves: float) -> str:
    """Return a number of octaves as a factor: -1 -> '0.50'."""
    factor = 2.0 ** min(octaves, 30)
    return f"{factor:.2f}" if factor < 10 else f"{factor:.0f}"


def format_interval(quantity: JudgedQuantity, low: float | None, high: float | None) -> str:
    """Return the confidence interval of a value; "" if there is none."""
    if low is None or high is None:
        return ""
    return f"[{format_quantity(quantity, low)}, {format_quantity(quantity, high)}]"


def format_difference_interval(quantity: JudgedQuantity, verdict: Verdict) -> str:
    """Return the confidence interval of a difference; "" if there is none."""
    low, high = verdict.ci_low, verdict.ci_high
    if low is None or high is None:
        return ""
    if quantity == "order_reach":
        return f"[{format_factor(low)}, {format_factor(high)}]"
    return f"[{format_difference(quantity, low)}, {format_difference(quantity, high)}]"


def format_margin(quantity: JudgedQuantity, margin: float, unit: Unit) -> str:
    """Return a margin with its unit: 0.01 bits/char; of reaches, a factor."""
    if quantity == "order_reach":
        return f"a factor of {format_factor(margin)}"
    number = f"{margin * QUANTITIES[quantity].factor:.3g}"
    return f"{number} {quantity_unit(quantity, unit)}"


def describe_lead(quantity: JudgedQuantity, verdict: Verdict, other: str) -> str:
    """Return how far a cell is ahead of another: "0.014 [0.003, 0.025] fewer than gru"."""
    if quantity == "order_reach":
        factor = format_factor(verdict.difference or 0.0)
        return f"{factor} {format_difference_interval(quantity, verdict)} times as far as {other}"
    if quantity == "bits_per_char":
        verdict = reverse_verdict(verdict)
    number = format_quantity(quantity, verdict.difference)
    interval = format_interval(quantity, verdict.ci_low, verdict.ci_high)
    more = "fewer" if quantity == "bits_per_char" else "more"
    return f"{number} {interval} {more} than {other}"


def verdict_word(quantity: JudgedQuantity, verdict: Verdict | None) -> str:
    """Return a verdict in a word; "" where no interval stands behind one."""
    if verdict is None or verdict.ci_low is None or verdict.ci_high is None:
        return ""
    words = QUANTITIES[quantity]
    names: dict[Label, str] = {
        "better": words.better,
        "worse": words.worse,
        "equivalent": "equal",
        "inconclusive": "unclear",
    }
    return names.get(verdict.label, "")


def reverse_verdict(verdict: Verdict) -> Verdict:
    """Return the verdict on the other cell of the pair."""

    def negative(value: float | None) -> float | None:
        return None if value is None else -value

    return msgspec.structs.replace(
        verdict,
        label=OPPOSITE.get(verdict.label, verdict.label),
        difference=negative(verdict.difference),
        ci_low=negative(verdict.ci_high),
        ci_high=negative(verdict.ci_low),
    )


def find_verdict(
    report: ComparisonReport, quantity: JudgedQuantity, cell: str, other: str
) -> Verdict | None:
    """Return the verdict on a cell against another; None if this pair was not tested."""
    for pair in report.pairs:
        if pair.quantity == quantity and {pair.cell, pair.other} == {cell, other}:
            return pair.verdict if pair.cell == cell else reverse_verdict(pair.verdict)
    reference = report.statistics.reference
    judged = {row.name: judged_quantity(row, quantity) for row in report.cells}
    own, its = judged[cell], judged[other]
    if other == reference:
        return own.verdict if own else None
    if cell == reference and its and its.verdict:
        return reverse_verdict(its.verdict)
    return None


def rank_cells(report: ComparisonReport, quantity: JudgedQuantity) -> list[EntryRow]:
    """Return the cells that have a value, the best first."""
    known = [(value, row) for row in report.cells if (value := mean(row, quantity)) is not None]
    is_ascending = quantity == "bits_per_char"
    ranked = sorted(known, key=lambda item: item[0], reverse=not is_ascending)
    return [row for _, row in ranked]


def measured_quantities(report: ComparisonReport) -> list[JudgedQuantity]:
    """Return bits, and the quantities of memory that any cell has a value of."""
    return ["bits_per_char", *(name for name in MEMORY if rank_cells(report, name))]


def list_names(names: Sequence[str]) -> str:
    """Return names as a list in a sentence: "gru, lstm and rnn"."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
