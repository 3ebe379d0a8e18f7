"""Beck et al. (2024), "xLSTM: extended long short-term memory": sLSTM, the scalar memory."""

from collections.abc import Iterator

import torch
from torch import Tensor, exp, maximum, nn, sigmoid, tanh, where
from torch.nn.functional import logsigmoid

from charlm.cells.base import Cell, State, register_cell
from charlm.cells.products import block_diagonal_linear

NUM_HEADS = 4


@register_cell("slstm")
class SLSTM(Cell):
    """LSTM with an exponential input gate and a normalizer.

    i = exp(W_i x + R_i h + b_i)          input gate, exponential
    f = sigmoid(W_f x + R_f h + b_f)      forget gate: 1 retains, 0 forgets
    o = sigmoid(W_o x + R_o h + b_o)      output gate
    z = tanh(W_z x + R_z h + b_z)         candidate
    c' = f c + i z                        cell state
    n' = f n + i                          normalizer: what c would be if z were always 1
    h' = o c' / n'

    R is block-diagonal: a head of H / 4 units sees only itself. c and n are carried divided by
    exp(m), m' = max(log f + m, log i), so that no exponential overflows; then n is at least 1. The
    published layer has a convolution before i and f and a norm after h, which are left out.

    Parameters: 4H(X + H/4 + 1) for X inputs and H units. As in the authors' code R starts at 0, and
    b_f falls from 5 to -7 within each head: 5 - 12 u^0.3, where u runs from 0 to 1 over its units.
    That is their first block; later ones have exponents up to 1.6. Other biases start at 0, and m
    at -100, lower than any gate: the first token sets it.
    """

    states = ("h", "c", "n", "m")
    hidden_size_multiple = NUM_HEADS
    gate_descriptions = {"o": "output gate"}
    candidate_name = "z"
    retention_expression = "f n / n'"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        head_size = hidden_size // NUM_HEADS
        self.W = nn.Linear(input_size, 4 * hidden_size)
        self.R = nn.Parameter(torch.empty(4, NUM_HEADS, head_size, head_size))
        nn.init.zeros_(self.R)
        nn.init.zeros_(self.W.bias)
        _, f, _, _ = self.W.bias.data.chunk(4)
        f.copy_((5 - 12 * torch.linspace(0, 1, head_size) ** 0.3).repeat(NUM_HEADS))

    def initial_state(self, batch_size: int) -> State:
        """Return zeros, and m = -100."""
        h, c, n, m = super().initial_state(batch_size)
        return h, c, n, m - 100

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h, c, n, m)."""
        h, c, n, m = state
        i, f, z, o = (Wx + block_diagonal_linear(h, self.R)).chunk(4, dim=-1)
        z, o = tanh(z), sigmoid(o)
        f = logsigmoid(f) + m
        m = maximum(f, i)
        i, f = exp(i - m), exp(f - m)
        c = f * c + i * z
        n = f * n + i
        self.record(z=z, o=o, i=i, n=n)
        h = o * c / where(n < 1, 1, n)  # below 1 only from an initial state that is no memory
        return h, c, n, m

    def unit_states(self, state: State) -> dict[str, Tensor]:
        """Return h and c / n: c and n alone are scaled by exp(m)."""
        h, c, n, _ = state
        return {"h": h, "c / n": c / where(n < 1, 1, n)}

    def retention(self, recorded: dict[str, Tensor]) -> Tensor:
        """Return the fraction of c / n that is retained; the input gate writes the rest."""
        return 1 - recorded["i"] / recorded["n"]

    def recurrent_matrices(self) -> Iterator[Tensor]:
        """Yield the blocks of R, of each gate and head."""
        yield from self.R.data.flatten(0, 1)
