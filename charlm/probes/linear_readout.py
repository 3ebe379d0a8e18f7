"""Multinomial logistic regression, fit on one half of a text's places and scored on the other.

It starts at the frequencies of the classes, and stops where held-out places of the first half no
longer gain. So features that tell nothing give about 0 bits, not less.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from charlm.probes.windows import Bits, Positions

BLOCK = 512  # tokens; longer blocks in a long text
MAX_BLOCKS = 64
TESTED_BLOCKS = 4  # of the blocks to fit on, every fourth says when to stop
MAX_STEPS = 80
PATIENCE = 6  # steps without a gain on the tested blocks
L2 = 1e-4  # penalty of each squared weight, halved
RIDGE = (
    0.3  # added to the variances in the step size: directions of small variance are learned late
)
SMOOTHING = 0.5  # count of each class before any was seen
MIN_DEVIATION = 1e-6  # of a feature that is not constant
Mask = NDArray[np.bool_]  # (places,)


class Halves(NamedTuple):
    """Places to fit on, to stop by and to score; each (places,)."""

    fit: Mask
    test: Mask
    score: Mask


def alternate_halves(places: Positions, length: int) -> Halves:
    """Divide places into alternating blocks of the text, so that both halves are spread over it."""
    block = places // max(BLOCK, -(-length // MAX_BLOCKS))
    is_scored = block % 2 == 1
    is_test = ~is_scored & (block // 2 % TESTED_BLOCKS == 0)
    return Halves(~is_scored & ~is_test, is_test, is_scored)


def standardize(features: Tensor, halves: Halves) -> Tensor:
    """Return features (places, F) of mean 0 and deviation 1, and a constant one, (places, F + 1).

    Mean and deviation are those of the places to fit on; constant features are 0.
    """
    known = features[torch.from_numpy(halves.fit)]
    deviation = known.std(0)
    scale = torch.where(deviation > MIN_DEVIATION, 1 / deviation.clamp_min(MIN_DEVIATION), 0.0)
    return torch.cat(((features - known.mean(0)) * scale, torch.ones(len(features), 1)), dim=1)


def bits_found(features: Tensor, classes: Tensor, num_classes: int, halves: Halves) -> Bits:
    """Return how many bits fewer the class of each scored place costs, given its features.

    The bits without features are those of the frequencies. Steps are those of Böhning (1992), who
    bounds the curvature, so that no step size is chosen; they are accelerated as by Nesterov
    (1983). All is deterministic.

    Args:
        features: Result of `standardize`, (places, F + 1).
        classes: Class of each place, (places,), int64.
        num_classes: Number of classes.
        halves: Which places are fit on and scored.
    """
    fit, test, score = (torch.from_numpy(mask) for mask in halves)
    x, y = features[fit], classes[fit]
    counts = torch.bincount(y, minlength=num_classes) + SMOOTHING
    frequencies = (counts / counts.sum()).log()
    weights = features.new_zeros(features.shape[1], num_classes)
    weights[-1] = frequencies
    curvature = x.T @ x / len(x)
    curvature.diagonal()[:-1] += RIDGE
    factor = torch.linalg.cholesky(curvature)
    target = one_hot(y, num_classes).to(x.dtype)
    previous, best, least, best_step = weights, weights, float("inf"), 0
    for step in range(MAX_STEPS):
        loss = float(cross_entropy(features[test] @ weights, classes[test]))
        if loss < least:
            best, least, best_step = weights, loss, step
        elif step - best_step >= PATIENCE:
            break
        ahead = weights + step / (step + 3) * (weights - previous)
        gradient = x.T @ (target - (x @ ahead).softmax(1)) / len(x)
        gradient[:-1] -= L2 * ahead[:-1]
        previous, weights = weights, ahead + 2 * torch.cholesky_solve(gradient, factor)
    y = classes[score]
    cost = cross_entropy(features[score] @ best, y, reduction="none")
    found: Bits = ((-frequencies[y] - cost) / np.log(2)).double().numpy()
    return found
