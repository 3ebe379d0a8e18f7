"""Li et al. (2018), "Independently recurrent neural network (IndRNN): building a longer and deeper
RNN"."""

import torch
from torch import Tensor, nn, relu

from charlm.cells.base import Cell, State, register_cell


@register_cell("indrnn")
class IndRNN(Cell):
    """h' = relu(W x + u h + b)      each unit sees only itself of the past

    Parameters: H(X + 2) for X inputs and H units. u begins uniform between 0 and 1: units that
    forget at every pace, and none that grows. It is not held there in training.
    """

    retention_expression = "|u| or 0"

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, hidden)
        self.u = nn.Parameter(torch.rand(hidden))

    def step(self, Wx: Tensor, state: State) -> State:
        (h,) = state
        h = relu(Wx + self.u * h)
        return (h,)

    def retention(self, letters: dict[str, Tensor]) -> Tensor:
        """Nothing where relu lets nothing through."""
        return self.u.abs() * (letters["h"] > 0)
