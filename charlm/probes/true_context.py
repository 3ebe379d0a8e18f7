"""A text read with its true context: the cost of every token, and the states in between.

The probes of memory compare these costs with those after a changed context, and read on from these
states. Parallel streams make this an order of magnitude faster than one stream.
"""

import numpy as np
import torch
from torch import Tensor

from charlm.cells.base import State
from charlm.data.documents import Starts
from charlm.data.stored_ids import read_rows
from charlm.data.vocabulary import TokenIds
from charlm.evaluation.streaming import (
    MAX_STATE_ELEMENTS,
    LanguageModel,
    advance,
    advance_documents,
    select_streams,
    stream_batches,
)
from charlm.models.documents import predict_starts, read_documents
from charlm.models.recurrent import reset_streams
from charlm.probes.windows import Bits, Positions, gather_windows, token_bits
from charlm.progress import ProgressCallback

STREAMS = 64
WARMUP = 2048  # tokens of true context that every stream reads before its own part
GRID = 64  # tokens between two states that are kept; more where states are large
States = tuple[State, ...]


class TrueContext:
    """The cost of every token after its true context, and the states in between.

    The text is cut into streams of equal length. Each of them but the first begins WARMUP tokens
    earlier, so that every token has as much true context, or all that there is. Where documents
    start afresh, that is no more than the document.
    """

    def __init__(
        self,
        model: LanguageModel,
        ids: TokenIds,
        tick: ProgressCallback,
        starts: Starts | None = None,
    ) -> None:
        """Prepare to read a text; nothing is read before it is needed.

        Args:
            model: Model that reads.
            ids: The text, (length,).
            tick: Gets the number of tokens read since.
            starts: Which tokens begin a document at which the state is reset, (length,).
        """
        self.model, self.tick = model, tick
        self.num_streams = max(1, min(STREAMS, len(ids) // WARMUP))
        state_size = sum(part.numel() for layer in model.initial_state(1) for part in layer)
        self.grid = GRID
        while len(ids) // self.grid * state_size > MAX_STATE_ELEMENTS:
            self.grid *= 2
        self.stream_length = -(-len(ids) // (self.num_streams * self.grid)) * self.grid
        self.size = len(ids)
        padding = self.num_streams * self.stream_length - len(ids)
        self.ids = np.append(np.asarray(ids, np.int64), np.zeros(padding, np.int64))
        marks = np.zeros(0, bool) if starts is None else starts
        self.starts = np.append(marks, np.zeros(len(self.ids) - len(marks), bool))
        self._bits: Bits | None = None
        self._states: States = ()  # of all streams at the first grid point, then at the second, ...

    @property
    def tokens_left(self) -> int:
        """Number of tokens that the first use of a cost or of a state reads."""
        return 0 if self._bits is not None else len(self.ids) + (self.num_streams - 1) * WARMUP

    @property
    def bits(self) -> Bits:
        """Bits of each token, (length,).

        The cost of naming an unknown character is left out: no memory could reduce it.
        """
        if self._bits is None:
            self._bits = self._read()
        return self._bits

    def _read(self) -> Bits:
        starts = np.arange(self.num_streams) * self.stream_length
        state = self.model.initial_state(1)
        if self.num_streams > 1:
            fresh = self.model.initial_state(self.num_streams - 1)
            warm = self._advance(starts[1:] - WARMUP, WARMUP, fresh)
            self.tick(WARMUP * (self.num_streams - 1))
            state = concatenate_streams([state, warm])
        logits = self.model.next_token_logits(state)[None]
        states, bits = [], []
        for start in range(0, self.stream_length, self.grid):
            states.append(state)
            window = gather_windows(self.ids, starts + start, self.grid).to(logits.device)
            marks = self._marks(starts + start, self.grid).to(logits.device)
            if marks.any():
                following, state = read_documents(self.model, window, state, marks)
            else:
                following, state = self.model(window, state)
            predictions = torch.cat((logits, following[:-1]))
            bits.append(token_bits(predict_starts(self.model, predictions, marks), window))
            logits = following[-1:]
            self.tick(window.numel())
        self._states = concatenate_streams(states)
        return np.concatenate(bits).T.reshape(-1)[: self.size]

    def states_before(self, positions: Positions) -> States:
        """Return the states before the tokens at these positions, as one batch."""
        self.bits  # noqa: B018  # reads the text
        stream, offset = np.divmod(positions, self.stream_length)
        rows = torch.from_numpy(offset // self.grid * self.num_streams + stream)
        states = select_streams(self._states, rows.to(self._states[0][0].device))
        states = self.read_on(positions - offset % self.grid, offset % self.grid, states)
        is_first = torch.from_numpy(self.starts[positions]).to(states[0][0].device)
        if not is_first.any():
            return states
        return reset_streams(states, self.model.initial_state(len(positions)), is_first)

    def _marks(self, starts: Positions, length: int) -> Tensor:
        """Return which tokens from each start begin a document, (length, len(starts))."""
        return torch.from_numpy(read_rows(self.starts, starts, length).T.copy())

    def _advance(self, starts: Positions, length: int, state: States) -> States:
        """Return the states after so many tokens from each start, reset where documents begin."""
        window, marks = gather_windows(self.ids, starts, length), self._marks(starts, length)
        if not marks.any():
            return advance(self.model, window, state)
        return advance_documents(self.model, window, marks, state)

    def read_on(
        self, starts: Positions, lengths: Positions, states: States, *, resets: bool = True
    ) -> States:
        """Return the states after each stream has read a piece of the text of its own length.

        Streams read 2^n tokens together where their lengths have this power of two.

        Args:
            starts: First token of each piece, (streams,).
            lengths: Tokens of each piece, (streams,).
            states: States before.
            resets: Whether documents in a piece start afresh; False: the pieces are moved into
                other documents.
        """
        states = tuple(tuple(part.clone() for part in layer) for layer in states)
        position = starts.copy()
        for bit in range(int(lengths.max(initial=0)).bit_length() - 1, -1, -1):
            reading = np.flatnonzero(lengths >> bit & 1)
            for batch in stream_batches(self.model, len(reading)):
                rows = reading[batch]
                chosen = torch.from_numpy(rows).to(states[0][0].device)
                before = select_streams(states, chosen)
                if resets:
                    after = self._advance(position[rows], 1 << bit, before)
                else:
                    window = gather_windows(self.ids, position[rows], 1 << bit)
                    after = advance(self.model, window, before)
                for layer, layer_after in zip(states, after, strict=True):
                    for part, part_after in zip(layer, layer_after, strict=True):
                        part[chosen] = part_after
                position[rows] += 1 << bit
                self.tick(len(rows) << bit)
        return states


def concatenate_streams(states: list[States]) -> States:
    """Return the states of several batches as those of one."""
    return tuple(
        tuple(torch.cat(parts) for parts in zip(*layers, strict=True))
        for layers in zip(*states, strict=True)
    )
