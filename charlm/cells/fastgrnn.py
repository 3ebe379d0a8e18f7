"""Kusupati et al. (2018), "FastGRNN: A fast, accurate, stable and tiny kilobyte sized gated recurrent neural network".

The full-rank cell of the paper.
"""  # noqa: E501

import torch
from torch import Tensor, nn, sigmoid, tanh

from charlm.cells.base import Cell, State, register_cell


@register_cell("fastgrnn")
class FastGRNN(Cell):
    """Gated unit whose gate and candidate share their matrices.

    s = W x + U h
    z = sigmoid(s + b_z)                                        gate: 1 retains
    g = tanh(s + b_g)                                           candidate
    h' = z h + (sigmoid(zeta) (1 - z) + sigmoid(nu)) g          zeta and nu are two numbers

    Left out: matrices of low rank, sparse and quantized, which make a model small after training.

    Parameters: H(X + H + 2) + 2 for X inputs and H units. As in the authors' code the biases start
    at 1, zeta at 1 and nu at -4.
    """

    gate_descriptions = {"z": "gate: 1 retains the past, 0 takes the candidate"}
    candidate_name = "g"
    retention_expression = "z"
    bias_gates = ("z", "g")
    forget_gate = "z"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size, bias=False)
        self.U = nn.Linear(hidden_size, hidden_size, bias=False)
        self.b = nn.Parameter(torch.ones(2 * hidden_size))
        self.zeta = nn.Parameter(torch.tensor([1.0]))
        self.nu = nn.Parameter(torch.tensor([-4.0]))

    @property
    def gate_bias(self) -> Tensor:
        """[b_z|b_g]."""
        return self.b

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h,)."""
        (h,) = state
        b_z, b_g = self.b.chunk(2, dim=-1)
        s = Wx + self.U(h)
        z, g = sigmoid(s + b_z), tanh(s + b_g)
        self.record(z=z, g=g)
        return (z * h + (sigmoid(self.zeta) * (1 - z) + sigmoid(self.nu)) * g,)
