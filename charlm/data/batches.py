"""TODO docstring."""

import random
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from charlm.data.vocabulary import TokenIds
from charlm.errors import DataError
from charlm.seeding import derive_seed


class Batch(NamedTuple):
    """What one update reads, and what it should have predicted."""

    x: Tensor  # (time, batch)
    y: Tensor  # (time, batch): x one character later
    is_epoch_start: bool  # the streams begin here: the state before is the start state


class BatchSampler:
    """batches[update]: a pure function of (seed, update), so that a resumed run needs no position.

    In an epoch the text is cut into `batch` streams of equal length, read side by side in windows
    of `time` characters. What fills no window is left out at a place drawn anew each epoch.
    """

    def __init__(
        self, ids: TokenIds, batch: int, time: int, seed: int, device: str = "cpu"
    ) -> None:
        self.ids, self.batch, self.time, self.seed, self.device = ids, batch, time, seed, device
        self.windows = (len(ids) - 1) // (batch * time)  # updates an epoch
        if not self.windows:
            raise DataError(
                f"the training split has {len(ids):,} characters, and one update reads batch × "
                f"time + 1 = {batch * time + 1:,}: give more text, or a smaller --batch-size or --seq-len"
            )

    def __getitem__(self, update: int) -> Batch:
        epoch, window = divmod(update, self.windows)
        length = self.windows * self.time
        spare = len(self.ids) - 1 - self.batch * length
        shift = random.Random(derive_seed(self.seed, "epoch", epoch)).randint(0, spare)
        begin = shift + window * self.time + length * np.arange(self.batch)
        read = self.ids[begin + np.arange(self.time + 1)[:, None]].astype(np.int64)
        ids = torch.from_numpy(read).to(self.device)
        return Batch(ids[:-1], ids[1:], is_epoch_start=window == 0)
