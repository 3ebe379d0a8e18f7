"""Reading of a text whose documents each start from the initial state.

The window is cut before every step at which a document begins in any of the streams. So each
kernel unrolls whole pieces as it does without documents, and no gradient flows from a document to
the one before it.
"""

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from charlm.cells.base import State
from charlm.kernels.single_step import ReadTokens
from charlm.models.char_lm import CharLM
from charlm.models.recurrent import ModelState, Reduction, reset_streams


class Reader(Protocol):
    """Interface of a model that reads documents; a test may have a fake."""

    def initial_state(self, batch: int, /) -> ModelState:
        """Return the state before the first token of each stream."""
        ...

    def next_token_logits(self, state: ModelState, /) -> Tensor:
        """Return logits of the token that follows a state, (batch, vocabulary)."""
        ...

    def __call__(self, ids: Tensor, state: ModelState, /) -> tuple[Tensor, ModelState]:
        """Return logits (time, batch, vocabulary) and the final state."""
        ...


def read_documents(
    model: Reader, ids: Tensor, state: ModelState, starts: Tensor
) -> tuple[Tensor, ModelState]:
    """Predict the token after each token, as if each document were a stream of its own.

    Args:
        model: Model that reads.
        ids: Token ids (time, batch), int64.
        state: State before them.
        starts: Which tokens begin a document (time, batch), booleans on the same device.

    Returns:
        Logits (time, batch, vocabulary) and the state after the last token. The logits after the
        last token of a document predict one more token of it: see `predict_starts`.
    """
    initial = model.initial_state(ids.shape[1])
    pieces = []
    for first, end in document_pieces(starts):
        # Also without a start in the first step, so that all processes that train together have
        # gradients of the same parameters.
        state = reset_streams(state, initial, starts[first])
        logits, state = model(ids[first:end], state)
        pieces.append(logits)
    return torch.cat(pieces), state


def document_pieces(starts: Tensor) -> list[tuple[int, int]]:
    """Return the pieces (first step, one past the last) in which no document begins but at first.

    Args:
        starts: Which tokens begin a document (time, batch).
    """
    cuts = {0, *torch.nonzero(starts.any(1)).flatten().tolist(), len(starts)}
    return list(pairwise(sorted(cuts)))


def predict_starts(model: Reader, logits: Tensor, starts: Tensor) -> Tensor:
    """Return logits in which the first token of a document is predicted by the initial state.

    Args:
        model: Model that reads.
        logits: Logits of tokens (time, batch, vocabulary).
        starts: Which of these tokens begin a document (time, batch).
    """
    if not starts.any():
        return logits
    first = model.next_token_logits(model.initial_state(1))
    return torch.where(starts[..., None], first.to(logits.dtype), logits)


def document_loss(
    model: CharLM,
    x: Tensor,
    y: Tensor,
    starts: Tensor,
    state: ModelState,
    reduction: Reduction = "mean",
) -> tuple[Tensor, ModelState]:
    """Return the loss of a batch with documents, and the state after it.

    Args:
        model: Model that reads.
        x: Token ids (time, batch).
        y: The same, one token later.
        starts: Which tokens of x, and the one after them, begin a document (time + 1, batch).
        state: State before the first step.
        reduction: "mean" per token, or "sum".
    """
    logits, last = read_documents(model, x, state, starts[:-1])
    return model.loss_fn(predict_starts(model, logits, starts[1:]), y, reduction), last


class DocumentReader:
    """Reader of streams, token by token, that starts each anew after a separator."""

    def __init__(self, reader: ReadTokens, separator: Sequence[int], state: State) -> None:
        """Continue with a reader that has read nothing.

        Args:
            reader: Reader of the streams.
            separator: Ids of the tokens that end a document.
            state: Initial state of one stream.
        """
        self._reader, self._separator, self._initial = reader, list(separator), state
        self._recent = [deque[int](maxlen=len(separator)) for _ in range(len(state[0]))]

    def __call__(self, tokens: Sequence[int]) -> Tensor:
        """Return the outputs (streams, output_size) after a token of each stream."""
        outputs = self._reader(tokens)
        for recent, token in zip(self._recent, tokens, strict=True):
            recent.append(token)
        ended = [row for row, recent in enumerate(self._recent) if list(recent) == self._separator]
        return self._reader.reset(ended, self._initial) if ended else outputs

    def reset(self, streams: Sequence[int], state: State) -> Tensor:
        """Continue these streams from the state of one stream; return the outputs of all."""
        for stream in streams:
            self._recent[stream].clear()
        return self._reader.reset(streams, state)

    def select(self, streams: Sequence[int]) -> None:
        """Continue with copies of these streams."""
        self._reader.select(streams)
        self._recent = [self._recent[stream].copy() for stream in streams]


def reset_after_separator(reader: ReadTokens, model: CharLM, state: State) -> ReadTokens:
    """Return the reader of a model, which starts anew after its separator, if it has one.

    Args:
        reader: Reader that has read nothing.
        model: Its model.
        state: Initial state of one stream, as the reader has it.
    """
    return DocumentReader(reader, model.separator, state) if model.separator else reader
