"""Li et al. (2018), "Independently recurrent neural network (IndRNN): building a longer and deeper RNN"."""  # noqa: E501

import torch
from torch import Tensor, nn, relu

from charlm.cells.base import Cell, State, register_cell


@register_cell("indrnn")
class IndRNN(Cell):
    """Independently recurrent network: of the past a unit sees only itself.

    h' = relu(W x + u h + b)

    Parameters: H(X + 2) for X inputs and H units. u starts uniform between 0 and 1: units with
    every time constant, none of which grows. Training does not keep u there.
    """

    retention_expression = "|u| or 0"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.u = nn.Parameter(torch.rand(hidden_size))

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h,)."""
        (h,) = state
        h = relu(Wx + self.u * h)
        self.record(h=h)
        return (h,)

    def retention(self, recorded: dict[str, Tensor]) -> Tensor:
        """Return |u|, or 0 where relu lets nothing pass."""
        return self.u.abs() * (recorded["h"] > 0)
