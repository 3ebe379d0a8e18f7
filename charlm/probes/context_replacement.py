"""Context replacement: bits lost if the text before the last k characters is another text."""

from collections.abc import Sequence

import numpy as np
import torch

from charlm.evaluation.streaming import advance, select_streams
from charlm.probes.base import ProbeContext, ProbeNotApplicableError, ProbeOutput, register_probe
from charlm.probes.effective_context import (
    CONTEXT_LENGTHS,
    MAX_TOKENS_READ,
    NUM_POSITIONS,
    effective_context_length,
    evenly_spaced,
    excess_bits,
    gather_windows,
    mean_curve,
    usable_context_lengths,
)
from charlm.results.probes import ProbeResult
from charlm.seeding import derive_seed

NUM_DISTRACTORS = 256  # passages of the training text
DISTRACTOR_LENGTH = 256  # tokens of each


@register_probe("context-replacement")
@torch.inference_mode()
def context_replacement(
    context: ProbeContext,
    context_lengths: Sequence[int] = CONTEXT_LENGTHS,
    num_positions: int = NUM_POSITIONS,
    max_tokens_read: int = MAX_TOKENS_READ,
) -> ProbeOutput:
    """What does the model lose if all of the distant context is another text?

    Question: How many bits does it cost if only the last k characters are the true ones, and
    another text precedes them?

    Protocol: Starts are evenly spaced over the text, except for its end, which is as long as the
    largest k; a large k has fewer of them. At each start the model has just read 256 characters of
    the training text, one of 256 random passages, and reads on in the true text. The character
    after k true ones is scored, a different one for each k, and compared with its cost in one pass
    over the whole text with full context. Reading leads to a state of the kind that occurs in
    training, which an initial state need not be, so this is the fairer ablation. The number is the
    smallest tested k that costs at most 1 % more than full context. Its 95 % interval is a
    bootstrap with 1,000 resamples of 64 blocks of the text.

    Unit: Bits lost per character (or byte), by the number of true characters. Error bars are
    standard errors.

    Chance: The line is 0: a model that remembers nothing beyond the last k characters loses nothing
    there.

    Source: Khandelwal, He, Qi & Jurafsky (2018), "Sharp Nearby, Fuzzy Far Away: How Neural Language
    Models Use Context", section 5, who drop or shuffle the distant context. Replacing it by another
    text and the paired difference are additions.
    """
    train_ids = context.train_ids
    context_lengths, notes = usable_context_lengths(context_lengths, context)
    if len(train_ids) < DISTRACTOR_LENGTH:
        raise ProbeNotApplicableError(
            f"the training text has {len(train_ids):,} {context.unit}s, "
            f"but {DISTRACTOR_LENGTH} are needed"
        )
    rng = np.random.default_rng(derive_seed(context.seed, "replace"))
    start = evenly_spaced(0, len(context.ids) - context_lengths[-1], num_positions)
    distractor_starts = rng.integers(len(train_ids) - DISTRACTOR_LENGTH + 1, size=NUM_DISTRACTORS)
    distractors = gather_windows(train_ids, distractor_starts, DISTRACTOR_LENGTH)
    states = advance(context.model, distractors, context.model.initial_state(NUM_DISTRACTORS))
    context.tick(distractors.numel())
    assignment = torch.from_numpy(rng.integers(NUM_DISTRACTORS, size=len(start)))
    excess = excess_bits(
        context,
        start,
        lambda batch: select_streams(states, assignment[batch]),
        context_lengths,
        max_tokens_read,
    )
    name = "effective context, distant text replaced"
    result = ProbeResult(
        x=f"true {context.unit}s read",
        y=f"bits lost per {context.unit}",
        chance=0.0,
        curves=[mean_curve(context_lengths, excess)],
        numbers=[effective_context_length(name, context, context_lengths, excess)],
        notes=notes,
    )
    return ProbeOutput(result)
