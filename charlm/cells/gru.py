"""Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder"; the variant whose
reset gate acts after the product, as in cuDNN and PyTorch (version 1 of the paper's preprint)."""

from torch import Tensor, nn, sigmoid, tanh

from charlm.cell import Cell, State, cell


@cell("gru")
class GRU(Cell):
    """r = sigmoid(W_r x + U_r h + b_r)              reset: how much of the past the candidate sees
    z = sigmoid(W_z x + U_z h + b_z)              keep: 1 keeps the past, 0 takes the candidate
    n = tanh(W_n x + b_n + r (U_n h + b'))        candidate
    h' = (1 - z) n + z h

    Parameters: 3H(X + H + 1) + H for X inputs and H units. b_z begins at 1, so that the unit keeps
    at first, as the LSTM's forget gate does.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, 3 * hidden)
        self.U = nn.Linear(hidden, 3 * hidden, bias=False)
        self.b = nn.Parameter(self.W.bias.data[2 * hidden :].clone())
        nn.init.ones_(self.W.bias.data[hidden : 2 * hidden])

    def step(self, Wx: Tensor, state: State) -> State:
        (h,) = state
        r, z, n = Wx.chunk(3, dim=-1)
        Ur, Uz, Un = self.U(h).chunk(3, dim=-1)
        r = sigmoid(r + Ur)
        z = sigmoid(z + Uz)
        n = tanh(n + r * (Un + self.b))
        return ((1 - z) * n + z * h,)
