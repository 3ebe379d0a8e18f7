"""Rusch & Mishra (2021), "Coupled oscillatory recurrent neural network (coRNN)": oscillators."""

import math
from collections.abc import Iterator

from torch import Tensor, nn, tanh

from charlm.cells.base import Cell, State, register_cell

TIME_STEP = 0.7
STIFFNESS = 1.0  # the paper's gamma
DAMPING = 1.2  # its epsilon


def amplitude_decay() -> float:
    """Return the modulus of the two eigenvalues of a step of an oscillator that nothing drives."""
    return math.sqrt(1 - TIME_STEP * DAMPING)  # they are complex, and this is their product


@register_cell("cornn")
class CoRNN(Cell):
    """Damped oscillators, each driven by the input and by position and velocity of all.

    z' = z + 0.7 (tanh(W x + U h + V z + b) - h - 1.2 z)      velocity
    h' = h + 0.7 z'                                           position: the paper's y

    Time step, stiffness and damping, which the authors tune for each task, were searched on
    characters, among those with which a unit oscillates. With those of their script for IMDB,
    0.054, 4.9 and 4.8, a step moves h by 0.003, and little is learned. Damping acts on the old
    velocity, as in their code; the paper also has an implicit form.

    Parameters: H(X + 2H + 1) for X inputs and H units. The amplitude that an oscillator retains in
    a step without a drive is 0.4.
    """

    states = ("h", "z")
    retention_expression = "amplitude"
    retention_is_constant = True

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size, bias=False)
        self.V = nn.Linear(hidden_size, hidden_size, bias=False)

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h, z)."""
        h, z = state
        drive = tanh(Wx + self.U(h) + self.V(z))
        z = z + TIME_STEP * (drive - STIFFNESS * h - DAMPING * z)
        return h + TIME_STEP * z, z

    def retention(self, recorded: dict[str, Tensor]) -> Tensor:
        """Return the decay of the amplitude, (hidden_size,)."""
        del recorded
        return self.W.bias.detach().new_full((self.hidden_size,), amplitude_decay())

    def recurrent_matrices(self) -> Iterator[Tensor]:
        """Yield U, then V."""
        yield self.U.weight.data
        yield self.V.weight.data
