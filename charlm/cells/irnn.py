"""Le, Jaitly & Hinton (2015), "A simple way to initialize recurrent networks of rectified linear
units"."""

from torch import Tensor, nn, relu

from charlm.cells.base import Cell, State, register_cell


@register_cell("irnn")
class IRNN(Cell):
    """h' = relu(W x + U h + b)

    Parameters: H(X + H + 1) for X inputs and H units. U begins as the identity and b at 0, so that
    at first a unit holds its value for ever and the gradient comes back unchanged. W begins normal
    with the paper's deviation of 0.001: what is held adds up over time, and with weights as large
    as PyTorch's own two layers overflowed within 30 updates.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, hidden)
        self.U = nn.Linear(hidden, hidden, bias=False)
        nn.init.normal_(self.W.weight, std=0.001)
        nn.init.zeros_(self.W.bias)
        nn.init.eye_(self.U.weight)

    def step(self, Wx: Tensor, state: State) -> State:
        (h,) = state
        return (relu(Wx + self.U(h)),)
