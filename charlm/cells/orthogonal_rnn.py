"""Lezcano-Casado & Martínez-Rubio (2019), "Cheap orthogonal constraints in neural networks": the expRNN."""  # noqa: E501

import math
from copy import copy
from typing import Self

import torch
from torch import Tensor, nn, relu, sign
from torch.nn.functional import linear

from charlm.cells.base import Cell, State, register_cell

# Numerator of the Padé approximant of order 7 of exp, and the 1-norm up to which it is exact in
# float64: Higham (2005), "The scaling and squaring method for the matrix exponential revisited".
PADE = (17297280.0, 8648640.0, 1995840.0, 277200.0, 25200.0, 1512.0, 56.0, 1.0)
PADE_NORM = 0.95


def matrix_exponential(S: Tensor) -> Tensor:
    """Return exp(S) by scaling and squaring, (H, H).

    PyTorch's own takes twice as long with its gradient, for which it needs matrices of twice H.
    """
    norm = float(torch.linalg.matrix_norm(S.detach(), 1))
    squarings = max(0, math.ceil(math.log2(max(norm, PADE_NORM) / PADE_NORM)))
    S = S / 2**squarings
    S2 = S @ S
    S4 = S2 @ S2
    S6 = S4 @ S2
    one = torch.eye(len(S), dtype=S.dtype, device=S.device)
    even = PADE[6] * S6 + PADE[4] * S4 + PADE[2] * S2 + PADE[0] * one
    odd = S @ (PADE[7] * S6 + PADE[5] * S4 + PADE[3] * S2 + PADE[1] * one)
    power: Tensor = torch.linalg.solve(even - odd, even + odd)
    for _ in range(squarings):
        power = power @ power
    return power


@register_cell("orthogonal-rnn")
class OrthogonalRNN(Cell):
    """RNN whose recurrent matrix is orthogonal: it turns the state, and keeps its length.

    Q = exp(A - A^T)                      orthogonal, for any A above the diagonal
    s = W x + Q h
    h' = sign(s) relu(|s| + b)            modReLU: s moved by b, and not beyond 0

    Q is computed once for all steps of an unroll. Left out: the lower learning rate that A has in
    the authors' code.

    Parameters: HX + H(H - 1)/2 + H for X inputs and H units. As in the authors' code Q starts as
    rotations of pairs of units, each by the tangent of half a uniform angle up to 90 degrees, b
    uniform between -0.01 and 0.01, and W normal with the variance 2/X.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size, bias=False)
        self.A = nn.Parameter(torch.zeros(hidden_size * (hidden_size - 1) // 2))
        self.b = nn.Parameter(torch.empty(hidden_size).uniform_(-0.01, 0.01))
        nn.init.kaiming_normal_(self.W.weight, nonlinearity="relu")
        row, column = self.places()
        is_pair = (row % 2 == 0) & (column == row + 1)
        angle = torch.empty(self.A.shape).uniform_(0, math.pi / 2)
        self.A.data = torch.where(is_pair, -torch.tan(angle / 2), self.A.data)

    @property
    def flops(self) -> int:
        """FLOPs of one step: W x and Q h. Q, which all steps of an unroll share, is not counted."""
        return 2 * self.hidden_size * (self.input_size + self.hidden_size)

    def places(self) -> Tensor:
        """Return row and column of each number of A (2, H(H - 1)/2)."""
        size = self.hidden_size
        return torch.triu_indices(size, size, 1, device=self.A.device)

    def rotation(self) -> Tensor:
        """Return Q (hidden_size, hidden_size).

        It is computed in float64 where there is such a thing: an error in Q adds up over the steps,
        since nothing is forgotten.
        """
        if self.A.is_meta:  # only the shape is asked for
            return self.A.new_empty(self.hidden_size, self.hidden_size)
        row, column = self.places()
        A = self.A if self.A.device.type == "mps" else self.A.double()
        upper = A.new_zeros(self.hidden_size, self.hidden_size).index_put((row, column), A)
        return matrix_exponential(upper - upper.T).to(self.A.dtype)

    def prepared(self) -> Self:
        """Return a copy that holds Q."""
        ready = copy(self)
        ready._buffers = {"Q": self.rotation()}
        return ready

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h,)."""
        (h,) = state
        Q = self._buffers.get("Q")
        s = Wx + linear(h, self.rotation() if Q is None else Q)
        return (sign(s) * relu(s.abs() + self.b),)
