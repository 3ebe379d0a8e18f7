"""Short causal convolution over time, which may precede every cell of a model."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from charlm.cells.base import State


class CausalConvolution(nn.Module):
    """Depthwise convolution: u[t] = w[0] x[t] + w[1] x[t - 1] + ... for each number of x.

    Mamba (Gu & Dao 2023) and the delta rules (Yang et al. 2024) are published with one, of width 4,
    behind their projections. Here it is before the projection, and the same for every cell, so that
    a comparison does not say "the convolution wins". It has no bias and no activation.

    Parameters: N X for width N and X numbers. They start uniform within 1 / sqrt(N), as a
    convolution of PyTorch does.
    """

    def __init__(self, size: int, width: int) -> None:
        """Create the weights.

        Args:
            size: Numbers of an input.
            width: Number of tokens that an output depends on.
        """
        super().__init__()
        bound = width**-0.5
        self.size = size
        taps = (torch.empty(size).uniform_(-bound, bound) for _ in range(width))
        self.taps = nn.ParameterList(taps)

    @property
    def flops(self) -> int:
        """FLOPs of one step."""
        return 2 * self.size * len(self.taps)

    def initial_state(self, batch_size: int) -> State:
        """Return zeros for the inputs before the first, the last one first, each (batch, size)."""
        zeros = self.taps[0].new_zeros
        return tuple(zeros(batch_size, self.size) for _ in self.taps[1:])

    def step(self, x: Tensor, past: Sequence[Tensor]) -> tuple[Tensor, State]:
        """Return the output of one token, and the inputs that the next one depends on.

        Args:
            x: Input (batch, size).
            past: Inputs before it, the last one first, each (batch, size).
        """
        inputs = x, *past
        return self._combine(inputs), inputs[:-1]

    def forward(self, x: Tensor, past: Sequence[Tensor]) -> tuple[Tensor, State]:
        """Return the outputs of many tokens, and the inputs that the next one depends on.

        Args:
            x: Inputs (time, batch, size).
            past: Inputs before them, the last one first, each (batch, size).
        """
        padded = torch.cat((*(part[None] for part in reversed(past)), x))
        shifts = range(len(past), -1, -1)
        outputs = self._combine([padded[shift : shift + len(x)] for shift in shifts])
        return outputs, tuple(padded[-1 - lag] for lag in range(len(past)))

    def _combine(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the sum of w[lag] inputs[lag], in the same order whatever is computed at once."""
        first, *others = (tap * x for tap, x in zip(self.taps, inputs, strict=True))
        for other in others:
            first = first + other
        return first
