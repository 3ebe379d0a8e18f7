"""Elman (1990), "Finding structure in time": the plain recurrent network, with tanh."""

from torch import Tensor, nn, tanh

from charlm.cells.base import Cell, State, register_cell


@register_cell("rnn")
class RNN(Cell):
    """Plain recurrent network.

    h' = tanh(W x + U h + b)

    Parameters: H(X + H + 1) for X inputs and H units. U starts orthogonal, so that at first the
    state is neither lost nor amplified (Saxe et al. 2014).
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size, bias=False)
        nn.init.orthogonal_(self.U.weight)

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h,)."""
        (h,) = state
        return (tanh(Wx + self.U(h)),)
