"""Windows of a text, and the cost of tokens."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charlm.data.stored_ids import StoredIds, read_rows
from charlm.data.vocabulary import TokenIds
from charlm.evaluation.scoring import token_nll

Bits = NDArray[np.float64]
Positions = NDArray[np.int64]


def evenly_spaced(start: int, end: int, count: int) -> Positions:
    """Return up to `count` positions in [start, end), evenly spaced, both ends included."""
    return np.linspace(start, end - 1, min(count, end - start)).astype(np.int64)


def gather_windows(ids: TokenIds | StoredIds, start: Positions, length: int) -> Tensor:
    """Return the text of this length from each start, (length, len(start)), int64."""
    return torch.from_numpy(read_rows(ids, start, length).T.astype(np.int64))


def entropy_bits(ids: TokenIds) -> float:
    """Return the entropy of the frequencies of tokens, or of classes of them, in bits."""
    share = np.bincount(ids) / len(ids)
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())


def token_bits(logits: Tensor, targets: Tensor) -> Bits:
    """Return the bits of each target (...) under logits (..., vocabulary_size)."""
    return token_nll(logits, targets.to(logits.device)).cpu().numpy() / math.log(2)
