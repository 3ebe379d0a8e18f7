"""What scoring and probing see of a model: it reads characters, and says what it expects next."""

from collections.abc import Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from charlm.cells.base import State

TOKENS_PER_FORWARD = (
    1 << 14
)  # characters that a call reads: what it makes of them stays in the cache
MAX_BATCH = 1024
MAX_STATE_ELEMENTS = 1 << 26  # numbers that all streams together may carry: 256 MB


class LanguageModel(Protocol):
    """All that most probes see of a model; so a fake whose memory is known tests them honestly.

    A state is a tuple of tuples of tensors, each (batch, ...): streams can be picked from it.
    """

    def initial_state(self, batch: int) -> tuple[State, ...]:
        """The state before the first character of each of `batch` streams."""
        ...

    def next_token_logits(self, state: tuple[State, ...]) -> Tensor:
        """Logits of the character that follows this state, (batch, symbols)."""
        ...

    def __call__(self, ids: Tensor, state: tuple[State, ...]) -> tuple[Tensor, tuple[State, ...]]:
        """ids (time, batch), state before -> logits (time, batch, symbols), state after."""
        ...

    def advance(self, ids: Tensor, state: tuple[State, ...]) -> tuple[State, ...]:
        """The same without logits, which cost a third of the time."""
        ...


def iter_logits(
    reader: LanguageModel, pieces: Iterable[Tensor], state: tuple[State, ...]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Pieces of a text, each (time, streams), read on from a state -> each piece, where the reader
    is, and the logits of its own characters (time, streams, symbols)."""
    logits = reader.next_token_logits(state)[None]  # of the first character
    for piece in pieces:
        ids = piece.to(logits.device)
        following, state = reader(ids, state)
        yield ids, torch.cat((logits, following[:-1]))
        logits = following[-1:]


def advance(reader: LanguageModel, ids: Tensor, state: tuple[State, ...]) -> tuple[State, ...]:
    """ids (time, streams), state before -> state after."""
    ids = ids.to(state[0][0].device)
    most = max(1, TOKENS_PER_FORWARD // ids.shape[1])
    for at in range(0, len(ids), most):
        state = reader.advance(ids[at : at + most], state)
    return state


def select_streams(state: tuple[State, ...], streams: slice | Tensor) -> tuple[State, ...]:
    """The state of these streams alone."""
    return tuple(tuple(part[streams] for part in layer) for layer in state)


def stream_batches(reader: LanguageModel, streams: int) -> Iterator[slice]:
    """So many streams, as many side by side as memory allows."""
    carried = sum(part.numel() for layer in reader.initial_state(1) for part in layer)
    most = max(1, min(MAX_BATCH, MAX_STATE_ELEMENTS // carried))
    return (slice(at, min(at + most, streams)) for at in range(0, streams, most))
