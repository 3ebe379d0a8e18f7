"""Le, Jaitly & Hinton (2015), "A simple way to initialize recurrent networks of rectified linear units"."""  # noqa: E501

from torch import Tensor, nn, relu

from charlm.cells.base import Cell, State, register_cell


@register_cell("irnn")
class IRNN(Cell):
    """Recurrent network of rectified linear units that starts as the identity.

    h' = relu(W x + U h + b)

    Parameters: H(X + H + 1) for X inputs and H units. U starts as the identity and b at 0: at first
    a unit retains its value for ever and the gradient passes unchanged. W starts normal with the
    paper's standard deviation of 0.001: retained values add up over time, and with PyTorch's larger
    weights two layers overflowed within 30 steps.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size, bias=False)
        nn.init.normal_(self.W.weight, std=0.001)
        nn.init.zeros_(self.W.bias)
        nn.init.eye_(self.U.weight)

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h,)."""
        (h,) = state
        return (relu(Wx + self.U(h)),)
