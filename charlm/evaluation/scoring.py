"""Bits per character of a text: the one exact protocol, and the quick look during training."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from charlm.data.encoded_text import EncodedText
from charlm.data.vocabulary import TokenIds, Vocabulary
from charlm.errors import DataError, DivergedError
from charlm.evaluation.blocks import block_edges, sum_by_block
from charlm.evaluation.streaming import iter_logits
from charlm.progress import ProgressCallback
from charlm.models.char_lm import CharLM

STREAMING_PROTOCOL = (
    "one-stream"  # every character once, the first from the start state, state carried
)
SUBSAMPLED_PROTOCOL = "quick"  # many streams over the beginning of the text, for steering only
TOKENS_PER_FORWARD = 2048  # characters per call of the model: bounds memory, whatever training used
QUICK_STREAMS, QUICK_CHARACTERS = 32, 1 << 17


def token_nll(logits: Tensor, targets: Tensor) -> Tensor:
    """What each target cost: logits (..., symbols), targets (...) -> (...), in float64."""
    scores = logits.double().log_softmax(-1)
    return -scores.gather(-1, targets[..., None])[..., 0]


def map_unknown(ids: TokenIds, alphabet: Vocabulary) -> TokenIds:
    """ids as the model knows them: those from the escape on are the escape."""
    wide = ids.astype(np.int64)
    return wide if alphabet.unk_id is None else np.minimum(wide, alphabet.unk_id)


@torch.inference_mode()  # of the walk, not of who looks at it in between
def iter_token_nll(
    model: CharLM, ids: TokenIds, alphabet: Vocabulary, tick: ProgressCallback = lambda _: None
) -> Iterator[Tensor]:
    """ids (length, streams) -> nats of each, window by window, (time, streams), float64 on the CPU.

    Each stream is read once, in order, from the start state on, without dropout. Draws no random
    numbers and leaves the model as it was: looking never changes what is learnt.
    """
    window = max(1, TOKENS_PER_FORWARD // ids.shape[1])
    pieces = (
        torch.from_numpy(map_unknown(ids[at : at + window], alphabet))
        for at in range(0, len(ids), window)
    )
    was_training = model.training
    model.eval()
    try:
        for x, logits in iter_logits(model, pieces, model.initial_state(ids.shape[1])):
            cost = token_nll(logits, x)
            if alphabet.unk_id is not None:
                cost += alphabet.unk_cost_nats * (x == alphabet.unk_id)
            yield cost.cpu()
            tick(x.numel())
    finally:
        model.train(was_training)


def evaluate(
    model: CharLM,
    alphabet: Vocabulary,
    text: EncodedText,
    span: tuple[int, int],
    tick: ProgressCallback = lambda _: None,
) -> dict[str, Any]:
    """The exact score of text[span]: nats are summed in float64 and divided once.

    bits_per_char and nats_per_char are None for bytes that are not UTF-8: they have no characters.
    symbols: what was scored, characters or bytes; unseen: those that cost an escape. The two
    hashes are of the whole text that the scored one was taken from, and of exactly what was scored.
    Of each block of the text: its bits, and its length in characters, in bytes where there are
    none.
    """
    start, end = span
    if end == start:
        raise DataError("the text is empty: there is nothing to score")
    ids = text.ids[start:end, None]
    blocks = sum_by_block(iter_token_nll(model, ids, alphabet, tick), end - start)
    total = math.fsum(blocks)
    if not math.isfinite(total):
        raise DivergedError(
            f"the score is {total}: the model's training had gone astray. "
            "Train again with a lower --learning-rate"
        )
    characters, size = text.count_characters_and_bytes(start, end, alphabet.kind)
    unseen = 0
    if alphabet.unk_id is not None:
        unseen = sum(
            int((block >= alphabet.unk_id).sum()) for block in text.iter_chunks(start, end)
        )
    cuts = (start + block_edges(end - start)).tolist()
    sizes = [text.count_characters_and_bytes(*block, alphabet.kind) for block in pairwise(cuts)]
    return {
        "bits_per_char": total / math.log(2) / characters if characters else None,
        "bits_per_byte": total / math.log(2) / size,
        "nats_per_char": total / characters if characters else None,
        "characters": characters,
        "bytes": size,
        "symbols": end - start,
        "unseen": unseen,
        "protocol": STREAMING_PROTOCOL,
        "corpus_sha256": text.metadata.digest.sha256,
        "text_sha256": text.sha256(start, end, alphabet.kind),
        "block_bits": (blocks / math.log(2)).tolist(),
        "block_lengths": [size if letters is None else letters for letters, size in sizes],
    }


def validation_bpc(model: CharLM, ids: TokenIds, alphabet: Vocabulary) -> float:
    """Bits per symbol on the beginning of a split, read in many streams: for steering only."""
    ids = ids[:QUICK_CHARACTERS]
    streams = max(1, min(QUICK_STREAMS, len(ids) // 64))
    length = len(ids) // streams
    side_by_side = ids[: streams * length].reshape(streams, length).T
    total = math.fsum(
        float(window.sum()) for window in iter_token_nll(model, side_by_side, alphabet)
    )
    return total / math.log(2) / side_by_side.size
