"""Beck et al. (2024), "xLSTM: extended long short-term memory": sLSTM, the scalar memory."""

from collections.abc import Iterator

import torch
from torch import Tensor, exp, maximum, nn, sigmoid, tanh, where
from torch.nn.functional import logsigmoid

from charlm.cells.base import Cell, State, block_diagonal_linear, register_cell

HEADS = 4


@register_cell("slstm")
class SLSTM(Cell):
    """i = exp(W_i x + R_i h + b_i)          input gate, exponential
    f = sigmoid(W_f x + R_f h + b_f)      forget gate: 1 keeps, 0 forgets
    o = sigmoid(W_o x + R_o h + b_o)      output gate
    z = tanh(W_z x + R_z h + b_z)         candidate
    c' = f c + i z                        cell state
    n' = f n + i                          normaliser: what c would be if z were always 1
    h' = o c' / n'

    R is block-diagonal: a head of H / 4 units sees only itself. c and n are carried divided by
    exp(m), m' = max(log f + m, log i), so that no exponential overflows; then n is at least 1.

    Parameters: 4H(X + H/4 + 1) for X inputs and H units. b_f begins at 1, so that the cell
    remembers at first, and m at -100, lower than any gate: the first character sets it.
    """

    states = ("h", "c", "n", "m")
    hidden_size_multiple = HEADS
    gate_descriptions = {"o": "output gate"}
    candidate_name = "z"
    retention_expression = "f n / n'"

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        share = hidden // HEADS
        self.W = nn.Linear(inputs, 4 * hidden)
        self.R = nn.Parameter(torch.empty(4, HEADS, share, share))
        nn.init.uniform_(self.R, -(share**-0.5), share**-0.5)
        self.init_retention_bias(torch.ones(hidden))

    def initial_state(self, batch: int) -> State:
        h, c, n, m = super().initial_state(batch)
        return h, c, n, m - 100

    def step(self, Wx: Tensor, state: State) -> State:
        h, c, n, m = state
        i, f, z, o = (Wx + block_diagonal_linear(h, self.R)).chunk(4, dim=-1)
        z, o = tanh(z), sigmoid(o)
        f = logsigmoid(f) + m
        m = maximum(f, i)
        i, f = exp(i - m), exp(f - m)
        c = f * c + i * z
        n = f * n + i
        h = o * c / where(n < 1, 1, n)  # below 1 only from a start that is no memory
        return h, c, n, m

    def unit_states(self, state: State) -> dict[str, Tensor]:
        """c and n alone are as large as exp(m) lets them be."""
        h, c, n, _ = state
        return {"h": h, "c / n": c / where(n < 1, 1, n)}

    def retention(self, letters: dict[str, Tensor]) -> Tensor:
        """Of c / n; the input gate's share is the rest."""
        return 1 - letters["i"] / letters["n"]

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        i, f, _, _ = self.W.bias.data.chunk(4)
        f.copy_(bias)
        if write is not None:
            i.copy_(write)

    def recurrent_matrices(self) -> Iterator[Tensor]:
        yield from self.R.data.flatten(0, 1)
