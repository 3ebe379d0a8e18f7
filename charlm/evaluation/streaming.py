"""Streaming interface to a language model: reading a text on from a state, for score and probes."""

from collections.abc import Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from charlm.cells.base import State
from charlm.models.documents import document_pieces, predict_starts, read_documents
from charlm.models.recurrent import ModelState, reset_streams

TOKENS_PER_ADVANCE = 1 << 14  # per call of `advance`: the result stays in the CPU cache
MAX_BATCH = 256  # more streams leave the CPU cache: half as fast again
MAX_STATE_ELEMENTS = 1 << 26  # of all streams together: 256 MB


class LanguageModel(Protocol):
    """Interface of a model to most probes; tests implement it with models of known memory.

    A state is a tuple of tuples of tensors, each (batch, ...), so that streams can be selected.
    """

    def initial_state(self, batch: int) -> tuple[State, ...]:
        """Return the state before the first token of each of `batch` streams."""
        ...

    def next_token_logits(self, state: tuple[State, ...]) -> Tensor:
        """Return logits of the token that follows a state, (batch, vocabulary size)."""
        ...

    def __call__(self, ids: Tensor, state: tuple[State, ...]) -> tuple[Tensor, tuple[State, ...]]:
        """Read ids, (time, batch), on from a state.

        Returns:
            Logits of the token after each, (time, batch, vocabulary size), and the final state.
        """
        ...

    def advance(self, ids: Tensor, state: tuple[State, ...]) -> tuple[State, ...]:
        """Return the final state alone: without logits, a third of the time is saved."""
        ...


def iter_logits(
    model: LanguageModel, windows: Iterable[Tensor], state: tuple[State, ...]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Read consecutive windows of a text on from a state.

    Args:
        model: Model that reads.
        windows: Ids, each (time, batch).
        state: State before the first window.

    Yields:
        The ids of each window on the device of the model, and the logits that predicted these
        ids, (time, batch, vocabulary size).
    """
    logits = model.next_token_logits(state)[None]  # of the first token
    for window in windows:
        ids = window.to(logits.device)
        following, state = model(ids, state)
        yield ids, torch.cat((logits, following[:-1]))
        logits = following[-1:]


def iter_document_logits(
    model: LanguageModel, windows: Iterable[tuple[Tensor, Tensor]], state: ModelState
) -> Iterator[tuple[Tensor, Tensor]]:
    """Read consecutive windows of a text on from a state; each document starts afresh.

    Args:
        model: Model that reads.
        windows: Ids, and which of them begin a document, each (time, batch).
        state: State before the first window.

    Yields:
        The same as `iter_logits`. The initial state predicts the first token of a document.
    """
    logits = model.next_token_logits(state)[None]
    for window, marks in windows:
        ids, starts = window.to(logits.device), marks.to(logits.device)
        following, state = read_documents(model, ids, state, starts)
        yield ids, predict_starts(model, torch.cat((logits, following[:-1])), starts)
        logits = following[-1:]


def advance(model: LanguageModel, ids: Tensor, state: tuple[State, ...]) -> tuple[State, ...]:
    """Return the state after ids, (time, batch), read on from a state in short calls."""
    ids = ids.to(state[0][0].device)
    window = max(1, TOKENS_PER_ADVANCE // ids.shape[1])
    for start in range(0, len(ids), window):
        state = model.advance(ids[start : start + window], state)
    return state


def advance_documents(
    model: LanguageModel, ids: Tensor, starts: Tensor, state: tuple[State, ...]
) -> tuple[State, ...]:
    """Return the state after ids, (time, batch), of which some begin a document, like `advance`.

    Args:
        model: Model that reads.
        ids: Token ids.
        starts: Which of them begin a document, (time, batch): the initial state is before them.
        state: State before the ids.
    """
    initial = model.initial_state(ids.shape[1])
    marks = starts.to(state[0][0].device)
    for first, end in document_pieces(starts):
        state = advance(model, ids[first:end], reset_streams(state, initial, marks[first]))
    return state


def select_streams(state: tuple[State, ...], streams: slice | Tensor) -> tuple[State, ...]:
    """Return the state of some of the streams."""
    return tuple(tuple(part[streams] for part in layer) for layer in state)


def stream_batches(model: LanguageModel, streams: int) -> Iterator[slice]:
    """Iterate over batches of streams whose states fit into `MAX_STATE_ELEMENTS`."""
    state_size = sum(part.numel() for layer in model.initial_state(1) for part in layer)
    batch = max(1, min(MAX_BATCH, MAX_STATE_ELEMENTS // state_size))
    return (slice(start, min(start + batch, streams)) for start in range(0, streams, batch))
