"""Bits by how many characters a model has read: Khandelwal et al. (2018), section 4."""

from collections.abc import Sequence

import numpy as np
import torch

from charlm.evaluation import ngram
from charlm.evaluation.streaming import advance, stream_batches
from charlm.probes.base import ProbeContext, register_probe
from charlm.probes.effective_context import (
    CONTEXT_LENGTHS,
    MAX_TOKENS_READ,
    POSITIONS,
    Bits,
    Places,
    effective_context_length,
    evenly_spaced,
    gather_windows,
    mean_curve,
    subsampling_stride,
    token_bits,
    usable_context_lengths,
)
from charlm.results.probes import ProbeResult


@register_probe("context")
@torch.inference_mode()
def context_truncation(
    reading: ProbeContext,
    ks: Sequence[int] = CONTEXT_LENGTHS,
    places: int = POSITIONS,
    read_at_most: int = MAX_TOKENS_READ,
) -> ProbeResult:
    """How much of what stands before a character does the model make use of?

    Question: How many bits does a character cost a model that has read only the k before it?

    Protocol: Places are taken evenly from the text, but for its beginning, as long as the largest
    k; fewer for a large k. At each the model is put in its start state, reads the last k
    characters, and is scored on the one that follows. The same character with full context is taken
    from one reading of the whole text, state carried. The curve is the bits with full context, of
    every character, plus the mean difference at the places: so the chance of where they fell hardly
    matters. The effective context is the smallest k asked that costs at most 1 % more than full
    context; its interval holds 95 % of 1,000 draws of 64 stretches of text.

    Unit: Bits per character (or byte), by the number of characters read. Error bars are standard
    errors of the mean difference. An unseen character counts as its escape alone.

    Chance: The line is what characters cost by their frequency in the training text, which needs no
    memory at all.

    Source: Khandelwal, He, Qi & Jurafsky (2018), "Sharp Nearby, Fuzzy Far Away: How Neural Language
    Models Use Context", section 4; the paired difference and the intervals are ours. A start state
    that training seldom saw can cost bits of its own: compare `replace`.
    """
    length, kind = len(reading.ids), reading.vocabulary.kind
    ks, notes = usable_context_lengths(ks, reading)
    at = evenly_spaced(ks[-1], length, places)
    lost = np.full((len(ks), len(at)), np.nan)
    for row, k in enumerate(ks):
        scored = slice(None, None, subsampling_stride(len(at), k, read_at_most))
        lost[row, scored] = bits_after_context(reading, at[scored], k) - reading.bits[at[scored]]
    full = float(reading.bits.mean())
    whole = np.arange(length)
    alone = ngram.token_nll(reading.train_ids, reading.ids, whole, reading.vocabulary.size, order=1)
    return ProbeResult(
        x=f"{kind} read before",
        y=f"bits per {kind.removesuffix('s')}",
        chance=float(alone.mean() / np.log(2)),
        curves=[mean_curve(ks, lost, above=full)],
        numbers=[effective_context_length("effective context", reading, ks, lost)],
        notes=notes,
        artifacts={
            "ks": torch.tensor(ks),
            "places": torch.from_numpy(at),
            "bits": torch.from_numpy(lost + reading.bits[at]).float(),
            "bytes": torch.tensor(kind == "bytes"),
        },
    )


def bits_after_context(reading: ProbeContext, at: Places, k: int) -> Bits:
    """Bits of the characters at these places, each read to from the start state k before it."""
    found = []
    for batch in stream_batches(reading.model, len(at)):
        text = gather_windows(reading.ids, at[batch] - k, k + 1)
        state = advance(reading.model, text[:-1], reading.model.initial_state(text.shape[1]))
        found.append(token_bits(reading.model.next_token_logits(state), text[-1]))
        reading.tick(text[:-1].numel())
    return np.concatenate(found)
