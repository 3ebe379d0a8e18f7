"""Difference of two runs on a text in words."""

from collections.abc import Sequence

from charlm.console import escape_control_characters
from charlm.reporting.formatting import VISIBLE_SPACE, format_with_interval, pluralize
from charlm.results.difference import GroupDifference, PassageDifference, RunDifference
from charlm.results.verdicts import MIN_UNITS


def side_names(report: RunDifference) -> tuple[str, str]:
    """Return short names of both runs: the last part of their paths, if these differ."""
    names = (
        report.a.run.rstrip("/").rpartition("/")[2],
        report.b.run.rstrip("/").rpartition("/")[2],
    )
    return names if names[0] != names[1] else (report.a.run, report.b.run)


def describe_difference(report: RunDifference) -> str:
    """Return the difference on the whole text, with its interval, in sentences."""
    a, b = side_names(report)
    worse, better = (a, b) if report.difference >= 0 else (b, a)
    size = abs(report.difference)
    if report.low is None or report.high is None:
        return (
            f"{worse} needs {size:.4f} bits per character more than {better}. There is no "
            f"interval: the text has {pluralize(report.units, 'part')} to resample, and "
            f"{MIN_UNITS} are needed (of 1,000 characters, or files)."
        )
    low, high = sorted((abs(report.low), abs(report.high)))
    if report.low <= 0 <= report.high:
        value, interval = format_with_interval(report.difference, report.low, report.high)
        return (
            f"It is unclear which run is better: {a} less {b} is {value} bits per character, "
            f"95 % interval {interval} over {pluralize(report.units, report.unit_kind)}."
        )
    value, interval = format_with_interval(size, low, high)
    return (
        f"{worse} needs {value} bits per character more than {better}, 95 % interval {interval} "
        f"over {pluralize(report.units, report.unit_kind)}."
    )


def describe_scope(report: RunDifference) -> list[str]:
    """Return what the difference says and what it does not."""
    a, _ = side_names(report)
    sentences = [
        f"{a} predicts {report.a_better:.0%} of the characters better. "
        + "The interval is over the text: these" * (report.low is not None)
        + "These" * (report.low is None)
        + " are two runs, and other seeds of the same cells may differ otherwise "
        "(charlm compare-cells)."
    ]
    kinds = {report.a.vocabulary_kind, report.b.vocabulary_kind}
    if len(kinds) > 1:
        sentences.append(
            "One run reads bytes, the other characters: the bits of a character's bytes are added "
            "up, so that both are code lengths of the same text."
        )
    if report.a.unknown_characters or report.b.unknown_characters:
        sentences.append(
            f"Characters that a vocabulary lacks ({report.a.unknown_characters:,} and "
            f"{report.b.unknown_characters:,}) contribute {report.unknown_contribution:+.4f} to "
            "the difference."
        )
    return sentences


def difference_heads(report: RunDifference, group: str) -> list[str]:
    """Return the heads of a table of groups."""
    return [group, "characters", *side_names(report), "difference", "contribution"]


def difference_rows(groups: Sequence[GroupDifference]) -> list[list[str]]:
    """Return the rows of a table of groups; empty ones are left out."""
    return [
        [
            group.name,
            f"{group.characters:,}",
            f"{group.bits_a:.3f}",
            f"{group.bits_b:.3f}",
            signed(group.difference),
            signed(group.contribution, 4),
        ]
        for group in groups
        if group.bits_a is not None and group.bits_b is not None and group.difference is not None
    ]


def describe_passage(passage: PassageDifference) -> str:
    """Return the difference on a passage, and where it is."""
    return f"{signed(passage.difference, 1)} bits at character {passage.position:,}"


def passage_line(passage: PassageDifference, context: int) -> str:
    """Return a passage in brackets with its context, on one line.

    Args:
        passage: The passage.
        context: Characters of the context on each side.
    """
    text = "".join(item.character for item in passage.characters)
    before, after = passage.before[-context:], passage.after[:context]
    passage_text = f"{before}⟦{text}⟧{after}"
    line = "".join(VISIBLE_SPACE.get(character, character) for character in passage_text)
    return escape_control_characters(line)


def signed(value: float, decimals: int = 3) -> str:
    """Return a number with its sign: -0.5 -> '−0.500'."""
    return f"{value:+.{decimals}f}".replace("-", "−")
