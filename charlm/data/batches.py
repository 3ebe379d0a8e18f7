"""Training batches as a pure function of seed and step."""

import random
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charlm.data.documents import Starts
from charlm.data.stored_ids import StoredIds, read_rows, read_starts
from charlm.data.vocabulary import TokenIds
from charlm.errors import DataError
from charlm.seeding import derive_seed

_ReadAhead = tuple[tuple[int, int], NDArray[np.integer], Starts | None]
TOKENS_READ_AHEAD = 1 << 20  # of all streams together: few long readings instead of many short ones


class Batch(NamedTuple):
    """Input and targets of one optimizer step."""

    x: Tensor  # (time, batch), int64
    y: Tensor  # (time, batch): x, one token later
    is_epoch_start: bool  # the streams start anew: so does the state
    # (time + 1, batch), bool: which tokens of x, and the one after them, begin a document
    starts: Tensor | None = None  # None: the text has no documents


class BatchSampler:
    """Batches of a training split: `sampler[step]` depends on seed and step alone.

    A resumed run therefore needs no reading position. In an epoch the text is cut into
    `batch_size` streams of equal length, read side by side in windows of `seq_len` tokens. The
    remainder that fills no window is skipped, at a position drawn anew for each epoch.
    """

    def __init__(
        self,
        ids: TokenIds | StoredIds,
        batch_size: int,
        seq_len: int,
        seed: int,
        device: str = "cpu",
    ) -> None:
        """Create a sampler of ids, (length,).

        Raises:
            DataError: The text is shorter than one batch.
        """
        self.ids, self.seed, self.device = ids, seed, device
        self.batch_size, self.seq_len = batch_size, seq_len
        self.windows = (len(ids) - 1) // (batch_size * seq_len)  # steps per epoch
        if not self.windows:
            raise DataError(
                f"cannot make a batch: the training split has {len(ids):,} characters, and "
                f"batch size × sequence length + 1 = {batch_size * seq_len + 1:,} are needed. "
                "Try more text, or a smaller --batch-size or --seq-len"
            )
        self._windows_ahead = max(1, TOKENS_READ_AHEAD // (batch_size * seq_len))
        # Epoch and first window; ids and document starts, (batch, tokens).
        self._read: _ReadAhead = (-1, -1), np.empty((batch_size, 0), ids.dtype), None

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0."""
        epoch, window = divmod(step, self.windows)
        first = window - window % self._windows_ahead
        if self._read[0] != (epoch, first):
            self._read = (epoch, first), *self._read_ahead(epoch, first)
        _, streams, marks = self._read
        start = (window - first) * self.seq_len
        tokens = slice(start, start + self.seq_len + 1)
        ids = torch.from_numpy(streams[:, tokens].T.astype(np.int64, order="C")).to(self.device)
        starts = None
        if marks is not None:
            starts = torch.from_numpy(marks[:, tokens].T.copy()).to(self.device)
        return Batch(ids[:-1], ids[1:], window == 0, starts)

    def _read_ahead(self, epoch: int, first: int) -> tuple[NDArray[np.integer], Starts | None]:
        """Return the tokens of a window and of those after it, and which begin a document.

        Both are (batch, windows × seq_len + 1).
        """
        stream_length = self.windows * self.seq_len
        remainder = len(self.ids) - 1 - self.batch_size * stream_length
        offset = random.Random(derive_seed(self.seed, "epoch", epoch)).randint(0, remainder)
        starts = offset + first * self.seq_len + stream_length * np.arange(self.batch_size)
        windows = min(self._windows_ahead, self.windows - first)
        length = windows * self.seq_len + 1
        return read_rows(self.ids, starts, length), read_starts(self.ids, starts, length)
