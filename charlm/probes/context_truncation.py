"""Context truncation: bits by the number of characters read (Khandelwal et al., 2018)."""

from collections.abc import Sequence

import numpy as np
import torch

from charlm.evaluation import ngram
from charlm.evaluation.streaming import advance, stream_batches
from charlm.probes.base import ProbeContext, ProbeOutput, register_probe
from charlm.probes.effective_context import (
    CONTEXT_LENGTHS,
    MAX_TOKENS_READ,
    NUM_POSITIONS,
    Bits,
    Positions,
    effective_context_length,
    evenly_spaced,
    gather_windows,
    mean_curve,
    subsampling_stride,
    token_bits,
    usable_context_lengths,
)
from charlm.results.probes import ProbeResult


@register_probe("context-truncation")
@torch.inference_mode()
def context_truncation(
    context: ProbeContext,
    context_lengths: Sequence[int] = CONTEXT_LENGTHS,
    num_positions: int = NUM_POSITIONS,
    max_tokens_read: int = MAX_TOKENS_READ,
) -> ProbeOutput:
    """How much of the preceding text does the model use?

    Question: How many bits does a character cost if the model has read only the k characters
    before it?

    Protocol: Positions are evenly spaced over the text, except for its beginning, which is as long
    as the largest k; a large k has fewer of them. At each position the model is reset to its
    initial state, reads the last k characters, and is scored on the next one. The cost of the same
    character with full context comes from one pass over the whole text with carried state. The
    curve is the mean cost of all characters with full context, plus the mean difference at the
    positions, so the choice of positions hardly matters. The effective context length is the
    smallest tested k that costs at most 1 % more than full context. Its 95 % interval is a
    bootstrap with 1,000 resamples of 64 blocks of the text.

    Unit: Bits per character (or byte), by the number of characters read. Error bars are standard
    errors of the mean difference. The cost of naming an unknown character is left out.

    Chance: The line is the cost by the character frequencies of the training text, which needs no
    memory.

    Source: Khandelwal, He, Qi & Jurafsky (2018), "Sharp Nearby, Fuzzy Far Away: How Neural Language
    Models Use Context", section 4. The paired difference and the intervals are additions. An
    initial state that was rare in training can itself cost bits; `context-replacement` avoids that.
    """
    length = len(context.ids)
    context_lengths, notes = usable_context_lengths(context_lengths, context)
    positions = evenly_spaced(context_lengths[-1], length, num_positions)
    excess = np.full((len(context_lengths), len(positions)), np.nan)
    for row, k in enumerate(context_lengths):
        scored = slice(None, None, subsampling_stride(len(positions), k, max_tokens_read))
        truncated = bits_after_context(context, positions[scored], k)
        excess[row, scored] = truncated - context.bits[positions[scored]]
    unigram_nats = ngram.token_nll(
        context.train_ids, context.ids, np.arange(length), context.vocabulary.size, order=1
    )
    result = ProbeResult(
        x=f"{context.unit}s read",
        y=f"bits per {context.unit}",
        chance=float(unigram_nats.mean() / np.log(2)),
        curves=[mean_curve(context_lengths, excess, offset=float(context.bits.mean()))],
        numbers=[effective_context_length("effective context", context, context_lengths, excess)],
        notes=notes,
    )
    artifacts = {
        "context_lengths": torch.tensor(context_lengths),
        "positions": torch.from_numpy(positions),
        "bits": torch.from_numpy(excess + context.bits[positions]).float(),
        "is_bytes": torch.tensor(context.unit == "byte"),
    }
    return ProbeOutput(result, artifacts)


def bits_after_context(context: ProbeContext, positions: Positions, k: int) -> Bits:
    """Return the bits at these positions, (len(positions),), after only the k tokens before."""
    bits = []
    for batch in stream_batches(context.model, len(positions)):
        text = gather_windows(context.ids, positions[batch] - k, k + 1)
        state = advance(context.model, text[:-1], context.model.initial_state(text.shape[1]))
        bits.append(token_bits(context.model.next_token_logits(state), text[-1]))
        context.tick(text[:-1].numel())
    return np.concatenate(bits)
