"""What a cell is: weights in a module, time in a pure step."""

from torch import Tensor, nn

from charlm.registry import Registry

State = tuple[Tensor, ...]  # each (batch, ...); state[0] is the output, (batch, hidden)


class Cell(nn.Module):
    """A subclass makes its weights in __init__ and writes its equations in step.

    inputs: width of x; hidden: units, the width of the output.
    """

    states: tuple[str, ...] = ("h",)  # what is carried through time, the output first
    W: nn.Linear  # what x says
    U: nn.Linear  # what h says

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.hidden = hidden

    def project(self, x: Tensor) -> Tensor:
        """(time, batch, inputs) -> (time, batch, any): all that needs no state, at once."""
        projected: Tensor = self.W(x)
        return projected

    def step(self, Wx: Tensor, state: State) -> State:
        """(batch, any) and the state before -> the state after."""
        raise NotImplementedError

    def start(self, batch: int) -> State:
        """The state before the first character: zeros, each (batch, hidden)."""
        weight = next(self.parameters())
        return tuple(weight.new_zeros(batch, self.hidden) for _ in self.states)


CELLS: Registry[type[Cell]] = Registry("cell")
cell = CELLS.add
