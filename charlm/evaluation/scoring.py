"""Bits per character: the exact score of a text, and subsampled validation during training."""

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from charlm.data.corpus import Corpus
from charlm.data.documents import Starts
from charlm.data.encoded_text import EncodedText
from charlm.data.stored_ids import StoredIds, read_rows, read_starts
from charlm.data.units import Units, text_units
from charlm.data.vocabulary import TokenIds, Vocabulary
from charlm.errors import DataError, DivergedError
from charlm.evaluation.blocks import sum_by_unit
from charlm.evaluation.streaming import iter_document_logits, iter_logits
from charlm.execution.device import to_float64
from charlm.models.char_lm import CharLM
from charlm.progress import ProgressCallback, ignore
from charlm.results.run import Score

# Every token once, the first from the initial state, with carried state;
STREAMING_PROTOCOL = "one-stream"
# the same, but the first token of each document from the initial state, too.
DOCUMENTS_PROTOCOL = "by-document"
# Streams spread over a split, read in parallel: they steer training, and are no result.
SUBSAMPLED_PROTOCOL = "subsampled"
TOKENS_PER_FORWARD = 2048  # bounds memory, whatever training used
VALIDATION_STREAMS, VALIDATION_TOKENS = 32, 1 << 15
MIN_VALIDATION_STREAM = 64  # tokens


def score_split(
    model: CharLM, corpus: Corpus, split: str, count: ProgressCallback = ignore
) -> Score:
    """Return the exact score of a split of a corpus, in its units; see `score_text`."""
    span, units = corpus.record.splits[split], corpus.units(split)
    return score_text(model, corpus.vocabulary, corpus.encoding, span, count, units)


def score_text(
    model: CharLM,
    vocabulary: Vocabulary,
    encoding: EncodedText,
    span: tuple[int, int],
    count: ProgressCallback = ignore,
    units: Units | None = None,
) -> Score:
    """Return the exact score of a span of a text, read as one stream with carried state.

    Nats are summed in float64 and divided once.

    Args:
        model: Model that scores; its mode and the random state are left as they are.
        vocabulary: Vocabulary of the model.
        encoding: Encoded text.
        span: First token and one past the last.
        count: Is called with numbers of tokens scored.
        units: What costs are summed over; None: the files of the text, or blocks.

    Raises:
        DataError: The span is empty.
        DivergedError: The score is not finite.
    """
    start, end = span
    windows = iter_token_nll(model, encoding.ids.span(start, end).column(), vocabulary, count)
    return score_windows(windows, vocabulary, encoding, span, units)


def score_windows(
    windows: Iterator[Tensor],
    vocabulary: Vocabulary,
    encoding: EncodedText,
    span: tuple[int, int],
    units: Units | None = None,
) -> Score:
    """Return the score of a span of a text, given the nats of its tokens in windows, (time, 1).

    Args:
        windows: Nats of all tokens of the span, in order.
        vocabulary: Vocabulary of the model.
        encoding: Encoded text.
        span: First token and one past the last.
        units: What costs are summed over; None: the files of the text, or blocks.

    Raises:
        DataError: The span is empty.
        DivergedError: The score is not finite.
    """
    start, end = span
    if end == start:
        raise DataError("cannot score the text: it is empty. Try another")
    units = units or text_units(encoding, span)
    sums = sum_by_unit(windows, units.edges)
    nats = math.fsum(sums)
    if not math.isfinite(nats):
        raise DivergedError(
            f"cannot score the text: the score is {nats}, since training diverged. "
            "Try to train again with a lower --learning-rate"
        )
    characters, num_bytes = encoding.count_characters_and_bytes(start, end, vocabulary.kind)
    lengths = [
        encoding.count_characters_and_bytes(start + first, start + last, vocabulary.kind)
        for first, last in pairwise(units.edges.tolist())
    ]
    return Score(
        bits_per_char=nats / math.log(2) / characters if characters else None,
        bits_per_byte=nats / math.log(2) / num_bytes,
        nats_per_char=nats / characters if characters else None,
        characters=characters,
        bytes=num_bytes,
        tokens=end - start,
        unknown_tokens=encoding.count_unknown(start, end),
        protocol=reading_protocol(encoding.ids),
        corpus_sha256=encoding.metadata.digest.sha256,
        text_sha256=encoding.sha256(start, end, vocabulary.kind),
        unit_kind=units.kind,
        block_bits=tuple((sums / math.log(2)).tolist()),
        block_lengths=tuple(
            block_bytes if block_characters is None else block_characters
            for block_characters, block_bytes in lengths
        ),
    )


def reading_protocol(ids: StoredIds) -> str:
    """Return the protocol by which a text is scored that has documents, or none."""
    return DOCUMENTS_PROTOCOL if ids.documents else STREAMING_PROTOCOL


def validation_bpc(model: CharLM, ids: TokenIds | StoredIds, vocabulary: Vocabulary) -> float:
    """Return bits per token of ids, (length,): of streams spread evenly over them."""
    tokens = min(len(ids), VALIDATION_TOKENS)
    streams = max(1, min(VALIDATION_STREAMS, tokens // MIN_VALIDATION_STREAM))
    starts = np.arange(streams) * len(ids) // streams
    batch = read_rows(ids, starts, tokens // streams).T
    marks = read_starts(ids, starts, tokens // streams)
    windows = iter_token_nll(model, batch, vocabulary, starts=None if marks is None else marks.T)
    nats = math.fsum(float(window.sum()) for window in windows)
    return nats / math.log(2) / batch.size


@torch.inference_mode()  # in the generator only, not in the code that iterates over it
def iter_token_nll(
    model: CharLM,
    ids: TokenIds | StoredIds,
    vocabulary: Vocabulary,
    count: ProgressCallback = ignore,
    starts: Starts | None = None,
) -> Iterator[Tensor]:
    """Iterate over the negative log-likelihood of tokens in windows.

    Each stream is read once, in order, from the initial state, without dropout. Each document
    starts from it again, where the ids of a text have documents. No random numbers are drawn and
    the mode of the model is restored, so scoring never changes training.

    Args:
        model: Model that reads.
        ids: (length, streams).
        vocabulary: Vocabulary of the model.
        count: Is called with numbers of tokens read.
        starts: Which ids begin a document, (length, streams), if they are no ids of a text.

    Yields:
        Nats of each token of a window, (time, streams), float64, on the CPU.
    """
    for targets, logits in iter_target_logits(model, ids, count, starts):
        yield coded_nll(logits, targets, vocabulary).cpu()


def iter_target_logits(
    model: CharLM,
    ids: TokenIds | StoredIds,
    count: ProgressCallback = ignore,
    starts: Starts | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over tokens and the logits that predicted them; see `iter_token_nll`.

    Yields:
        Ids of a window, (time, streams), and logits, (time, streams, vocabulary size).
    """
    window = max(1, TOKENS_PER_FORWARD // ids.shape[1])
    windows = (
        torch.from_numpy(ids[start : start + window].astype(np.int64, order="C"))
        for start in range(0, len(ids), window)
    )
    state = model.initial_state(ids.shape[1])
    pairs = iter_logits(model, windows, state)
    if starts is not None or (isinstance(ids, StoredIds) and ids.documents):
        marks = (_window_starts(ids, starts, n, n + window) for n in range(0, len(ids), window))
        pairs = iter_document_logits(model, zip(windows, marks, strict=True), state)
    was_training = model.training
    model.eval()
    try:
        for targets, logits in pairs:
            yield targets, logits
            count(targets.numel())
    finally:
        model.train(was_training)


def _window_starts(
    ids: TokenIds | StoredIds, starts: Starts | None, first: int, end: int
) -> Tensor:
    """Return which of ids[first:end] begin a document, (time, streams)."""
    if starts is None:
        assert isinstance(ids, StoredIds) and ids.documents
        end = min(end, len(ids))
        return torch.from_numpy(ids.documents.mark(ids, first, end))[:, None]
    return torch.from_numpy(starts[first:end].copy())


def coded_nll(logits: Tensor, targets: Tensor, vocabulary: Vocabulary) -> Tensor:
    """Return nats of targets with those that name an unknown character; see `token_nll`."""
    nats = token_nll(logits, targets)
    if vocabulary.unk_id is not None:
        is_unknown = (targets == vocabulary.unk_id).to(nats.device)
        nats = nats + vocabulary.unk_cost_nats * is_unknown
    return nats


def token_nll(logits: Tensor, targets: Tensor) -> Tensor:
    """Return nats of targets, (...), in float64, given logits (..., vocabulary size)."""
    log_probabilities = to_float64(logits).log_softmax(-1)
    indices = targets[..., None].to(log_probabilities.device)
    return -log_probabilities.gather(-1, indices)[..., 0]
