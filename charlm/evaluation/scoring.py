"""Bits per character: the exact score of a text, and subsampled validation during training."""

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from charlm.data.encoded_text import EncodedText
from charlm.data.vocabulary import TokenIds, Vocabulary
from charlm.errors import DataError, DivergedError
from charlm.evaluation.blocks import block_edges, sum_by_block
from charlm.evaluation.streaming import iter_logits
from charlm.models.char_lm import CharLM
from charlm.progress import ProgressCallback, ignore
from charlm.results.run import Score

# Every token once, the first from the initial state, with carried state.
STREAMING_PROTOCOL = "one-stream"
# The first tokens of a split, read in parallel streams: steers training, and is no result.
SUBSAMPLED_PROTOCOL = "subsampled"
TOKENS_PER_FORWARD = 2048  # bounds memory, whatever training used
VALIDATION_STREAMS, VALIDATION_TOKENS = 32, 1 << 17
MIN_VALIDATION_STREAM = 64  # tokens


def score_text(
    model: CharLM,
    vocabulary: Vocabulary,
    encoding: EncodedText,
    span: tuple[int, int],
    count: ProgressCallback = ignore,
) -> Score:
    """Return the exact score of a span of a text, read as one stream with carried state.

    Nats are summed in float64 and divided once.

    Args:
        model: Model that scores; its mode and the random state are left as they are.
        vocabulary: Vocabulary of the model.
        encoding: Encoded text.
        span: First token and one past the last.
        count: Is called with numbers of tokens scored.

    Raises:
        DataError: The span is empty.
        DivergedError: The score is not finite.
    """
    start, end = span
    if end == start:
        raise DataError("cannot score the text: it is empty. Try another")
    ids = encoding.ids[start:end, None]
    blocks = sum_by_block(iter_token_nll(model, ids, vocabulary, count), end - start)
    nats = math.fsum(blocks)
    if not math.isfinite(nats):
        raise DivergedError(
            f"cannot score the text: the score is {nats}, since training diverged. "
            "Try to train again with a lower --learning-rate"
        )
    characters, num_bytes = encoding.count_characters_and_bytes(start, end, vocabulary.kind)
    unknown = 0
    if vocabulary.unk_id is not None:
        unknown = sum(
            int((chunk >= vocabulary.unk_id).sum()) for chunk in encoding.iter_chunks(start, end)
        )
    edges = (start + block_edges(end - start)).tolist()
    lengths = [
        encoding.count_characters_and_bytes(*block, vocabulary.kind) for block in pairwise(edges)
    ]
    return Score(
        bits_per_char=nats / math.log(2) / characters if characters else None,
        bits_per_byte=nats / math.log(2) / num_bytes,
        nats_per_char=nats / characters if characters else None,
        characters=characters,
        bytes=num_bytes,
        tokens=end - start,
        unknown_tokens=unknown,
        protocol=STREAMING_PROTOCOL,
        corpus_sha256=encoding.metadata.digest.sha256,
        text_sha256=encoding.sha256(start, end, vocabulary.kind),
        block_bits=tuple((blocks / math.log(2)).tolist()),
        block_lengths=tuple(
            block_bytes if block_characters is None else block_characters
            for block_characters, block_bytes in lengths
        ),
    )


def validation_bpc(model: CharLM, ids: TokenIds, vocabulary: Vocabulary) -> float:
    """Return bits per token on the first tokens of ids, (length,), read in parallel streams."""
    ids = ids[:VALIDATION_TOKENS]
    streams = max(1, min(VALIDATION_STREAMS, len(ids) // MIN_VALIDATION_STREAM))
    length = len(ids) // streams
    batch = ids[: streams * length].reshape(streams, length).T
    nats = math.fsum(float(window.sum()) for window in iter_token_nll(model, batch, vocabulary))
    return nats / math.log(2) / batch.size


@torch.inference_mode()  # in the generator only, not in the code that iterates over it
def iter_token_nll(
    model: CharLM, ids: TokenIds, vocabulary: Vocabulary, count: ProgressCallback = ignore
) -> Iterator[Tensor]:
    """Iterate over the negative log-likelihood of tokens in windows.

    Each stream is read once, in order, from the initial state, without dropout. No random numbers
    are drawn and the mode of the model is restored, so scoring never changes training.

    Args:
        model: Model that reads.
        ids: (length, streams).
        vocabulary: Vocabulary of the model.
        count: Is called with numbers of tokens read.

    Yields:
        Nats of each token of a window, (time, streams), float64, on the CPU.
    """
    window = max(1, TOKENS_PER_FORWARD // ids.shape[1])
    windows = (
        torch.from_numpy(map_unknown(ids[start : start + window], vocabulary))
        for start in range(0, len(ids), window)
    )
    was_training = model.training
    model.eval()
    try:
        for targets, logits in iter_logits(model, windows, model.initial_state(ids.shape[1])):
            nats = token_nll(logits, targets)
            if vocabulary.unk_id is not None:
                nats += vocabulary.unk_cost_nats * (targets == vocabulary.unk_id)
            yield nats.cpu()
            count(targets.numel())
    finally:
        model.train(was_training)


def token_nll(logits: Tensor, targets: Tensor) -> Tensor:
    """Return nats of targets, (...), in float64, given logits (..., vocabulary size)."""
    log_probabilities = logits.double().log_softmax(-1)
    return -log_probabilities.gather(-1, targets[..., None])[..., 0]


def map_unknown(ids: TokenIds, vocabulary: Vocabulary) -> TokenIds:
    """Return ids as int64, those outside of the vocabulary replaced by the unknown token."""
    wide = ids.astype(np.int64)
    return wide if vocabulary.unk_id is None else np.minimum(wide, vocabulary.unk_id)
