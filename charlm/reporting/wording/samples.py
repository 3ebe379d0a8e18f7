"""Sentences about generated texts: their overlap with the training text."""

from charlm.reporting.wording.text import token_noun
from charlm.results.samples import Novelty, VerbatimOverlap

MAX_SHOWN = 200  # characters of an overlap


def describe_novelty(novelty: Novelty, vocabulary_kind: str) -> list[str]:
    """Return what of a sample stands in the training text, one sentence a line.

    Args:
        novelty: Overlaps of the sample.
        vocabulary_kind: "chars" or "bytes".
    """
    noun = f"{token_noun(vocabulary_kind)}s"
    if novelty.longest is None:
        return [f"no part of it stands in the training text ({novelty.train_tokens:,} {noun})"]
    shares = [
        f"{one.share:.1%} by overlaps of {one.min_length} {noun} or more" for one in novelty.covered
    ]
    return [
        f"longest overlap with the training text: {novelty.longest.length:,} {noun}",
        f"  {_quote(novelty.longest.text)}",
        f"  in {describe_place(novelty.longest, noun)}",
        "covered: " + ", ".join(shares),
    ]


def describe_place(overlap: VerbatimOverlap, noun: str) -> str:
    """Return where an overlap stands in the training text."""
    file = overlap.file or "the training text"
    return f"{file}, line {overlap.line:,} ({overlap.offset:,} {noun} before it)"


def _quote(text: str) -> str:
    """Return a text on one line, in quotes, cut in the middle if it is long."""
    if len(text) > MAX_SHOWN:
        half = MAX_SHOWN // 2
        text = f"{text[:half]} […] {text[-half:]}"
    return '"' + text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t") + '"'
