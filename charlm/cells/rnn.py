"""Elman (1990), "Finding structure in time": the plain recurrent network, with tanh."""

from torch import Tensor, nn, tanh

from charlm.cells.base import Cell, State, register_cell


@register_cell("rnn")
class RNN(Cell):
    """h' = tanh(W x + U h + b)

    Parameters: H(X + H + 1) for X inputs and H units. U begins orthogonal, so that at first nothing
    of the state is lost or blown up (Saxe et al. 2014).
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, hidden)
        self.U = nn.Linear(hidden, hidden, bias=False)
        nn.init.orthogonal_(self.U.weight)

    def step(self, Wx: Tensor, state: State) -> State:
        (h,) = state
        return (tanh(Wx + self.U(h)),)
