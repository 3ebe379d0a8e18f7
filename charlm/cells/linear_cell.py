"""Base class of cells whose state is linear in the last one, so that time can be scanned."""

from torch import Tensor

from charlm.cells.base import Cell, State


class LinearCell(Cell):
    """Base class for cells whose state is linear in the last one, so that time can be scanned.

    s' = a s + b, where a and b depend on x alone. A subclass writes `coefficients`; `step` follows.

    s is state[0]. With `output_is_readout` the states are (output, s, ...): the subclass then also
    writes `read_out`. A cell that needs something of the previous token carries it in further
    states; it writes `apply_input_shift` and a `step` that does the same for one token.
    """

    retention_expression = "a"

    def apply_input_shift(self, Wx: Tensor, state: State) -> tuple[Tensor, State]:
        """Give each token what it needs of the previous one, for all time steps at once.

        Args:
            Wx: Projected inputs (time, batch, any).
            state: The state before the first of them.

        Returns:
            What `coefficients` and `read_out` take (time, batch, any), and the last values of the
            states that follow s.
        """
        del state  # by default a token needs nothing of the previous one
        return Wx, ()

    def coefficients(self, Wx: Tensor) -> tuple[Tensor, Tensor]:
        """Return a and b of s' = a s + b, each (..., units), from Wx (..., any)."""
        raise NotImplementedError

    def read_out(self, Wx: Tensor, s: Tensor) -> Tensor:
        """Return the output (..., hidden_size), for a cell whose output is not s itself."""
        raise NotImplementedError

    def step(self, Wx: Tensor, state: State) -> State:
        """Return the next state from `coefficients` and, where there is one, `read_out`."""
        a, b = self.coefficients(Wx)
        self.record(a=a)
        s = a * state[1 if self.output_is_readout else 0] + b
        return (self.read_out(Wx, s), s) if self.output_is_readout else (s,)

    def retention(self, recorded: dict[str, Tensor]) -> Tensor:
        """Return a, whatever the equations call it."""
        return recorded["a"]
