"""Zhou et al. (2016), "Minimal gated unit for recurrent neural networks": the MGU."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn, sigmoid, tanh

from charlm.cells.base import Cell, State, register_cell


@register_cell("mgu")
class MGU(Cell):
    """GRU with one gate, which resets and updates.

    f = sigmoid(W_f x + U_f h + b_f)      forget gate: 1 takes the candidate, 0 retains
    n = tanh(W_n x + U_n (f h) + b_n)     candidate
    h' = (1 - f) h + f n

    Parameters: 2H(X + H + 1) for X inputs and H units. b_f starts at -1, so that the unit retains
    at first.
    """

    gate_descriptions = {
        "f": "forget gate: 1 takes the candidate and shows it the past, 0 retains",
    }
    candidate_name = "n"
    retention_expression = "1 - f"
    forget_gate = "f"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 2 * hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size, bias=False)
        self.U_n = nn.Linear(hidden_size, hidden_size, bias=False)
        self.init_retention_bias(torch.ones(hidden_size))

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h,)."""
        (h,) = state
        f, n = Wx.chunk(2, dim=-1)
        f = sigmoid(f + self.U(h))
        n = tanh(n + self.U_n(f * h))
        self.record(f=f, n=n)
        return ((1 - f) * h + f * n,)

    def retention(self, recorded: dict[str, Tensor]) -> Tensor:
        """Return 1 - f."""
        return 1 - recorded["f"]

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        """Set b_f to -bias: here 1 - f retains, and f writes."""
        del write  # f has one bias
        f, _ = self.W.bias.data.chunk(2)
        f.copy_(-bias)

    def recurrent_matrices(self) -> Iterator[Tensor]:
        """Yield U, then U_n."""
        yield self.U.weight.data
        yield self.U_n.weight.data
