"""Costs of characters, and scores beside the exact one, in words."""

from collections.abc import Sequence

from charlm.reporting.formatting import pluralize
from charlm.results.costs import ClassCost, DynamicScore, Program, ProgramScore

PROGRAMS: dict[Program, str] = {
    "char-rnn": "char-rnn",
    "torch-rnn": "torch-rnn",
    "nanogpt": "nanoGPT",
    "awd": "AWD-LSTM",
}
COST_HEADS = ["class", "characters", "bits/char", "of characters", "of bits"]


def describe_program_score(score: ProgramScore) -> str:
    """Return how a program reads a text."""
    if score.program == "nanogpt":
        batches = score.predictions // (score.streams * (score.window or 1))
        return (
            f"{batches} random batches of {score.streams} windows of {score.window} tokens, each "
            f"from the initial state; seed {score.seed}"
        )
    streams = pluralize(score.streams, "stream")
    if score.program == "awd":
        return f"{streams}, state carried, first tokens not predicted but counted"
    text = (
        f"{streams} in windows of {score.window} tokens, state carried; "
        f"{score.predictions:,} of {score.text_tokens:,} tokens"
    )
    return text + ", and the first after the last" * (score.program == "char-rnn")


def describe_dynamic_score(score: DynamicScore) -> str:
    """Return how a model learnt while it was scored."""
    return (
        f"weights learn from each {score.segment} tokens after these are scored: "
        f"rate {score.rate:g}, decay {score.decay:g}"
    )


def cost_rows(costs: Sequence[ClassCost]) -> list[list[str]]:
    """Return the rows of a table of costs by class; classes without characters are left out."""
    return [
        [
            cost.name,
            f"{cost.characters:,}",
            f"{cost.bits_per_char:.3f}",
            f"{cost.share_of_characters:.1%}",
            f"{cost.share_of_bits:.1%}",
        ]
        for cost in costs
        if cost.bits_per_char is not None
    ]
