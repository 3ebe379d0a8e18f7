"""Start of a run that does not begin from new weights: keys of `run.json`."""

from typing import Literal

import msgspec

from charlm.results.training import Rate, Step
from charlm.results.values import Count, Sha256

# What starts again from its beginning in a run with the weights of another one.
Restarted = Literal["optimizer", "steps", "schedule", "warmup"]


class InitialWeights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Weights of another run that a run started from (`--init-from`).

    Rows of the embedding and of the output belong to tokens. The vocabulary has all tokens of the
    other run, then those that the text adds.
    """

    run: str  # directory of the other run, as an absolute path
    weights_sha256: Sha256  # of its best weights
    step: Step  # of its best checkpoint
    text_sha256: Sha256  # of the text that it was trained on
    shared_tokens: Count  # in its vocabulary and in the text: their rows are taken
    new_tokens: Count  # in the text alone: their rows are new
    kept_tokens: Count  # in its vocabulary alone: their rows are taken, too
    restarted: tuple[Restarted, ...]  # what begins anew in this run


class LongerBudget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Run that a run with a larger budget goes on from, before its learning rate decayed.

    With the same text and settings, a run of this budget from its first step has the same weights.
    """

    run: str  # directory of the other run, as an absolute path
    record_sha256: Sha256  # of its run.json
    weights_sha256: Sha256  # of its weights at `start_step`
    start_step: Step  # steps that were taken over
    max_steps: Step  # its budget in optimizer steps
    decay_start: Step  # steps of this run after which its learning rate decays
    recipe_rate: Rate  # learning rate that the recipe has for this budget; the run's own one stays
    redone_steps: Step  # that it trained after `start_step`: at a decayed rate, so not taken over
