"""What a cell is: weights in a module, time in a pure step."""

from collections.abc import Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode, handle_torch_function, has_torch_function

from charlm.cells.names import INFRASTRUCTURE
from charlm.errors import ConfigError
from charlm.registry import Registry

State = tuple[Tensor, ...]  # each (batch, ...); state[0] is the output, (batch, width)


class Cell(nn.Module):
    """A subclass makes its weights in __init__ and writes its equations in step.

    inputs: width of x; hidden: units. What it hands on is state[0], (batch, width); its first
    `hidden` numbers are the output from which characters are predicted.
    """

    states: tuple[str, ...] = ("h",)  # what is carried through time, the output first
    fixed_initial_states: tuple[
        str, ...
    ] = ()  # those of them whose start is what it is: it is never learned
    output_is_readout = (
        False  # whether state[0] is only read from the others: step does not look at it
    )
    hidden_size_multiple = 1  # hidden must be a multiple of this
    # For who looks inside; a cell without them walks as well.
    gate_descriptions: dict[
        str, str
    ] = {}  # letters of the equations, each from 0 to 1 in step: what it is
    candidate_name = ""  # the letter of what is new, from which a gate takes
    retention_expression = (
        ""  # the share that a unit keeps of what it holds, as the equations write it
    )
    retention_is_constant = False  # whether that share is the same whatever is read
    W: nn.Linear  # what x says
    U: nn.Linear  # what h says

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        if hidden % self.hidden_size_multiple:
            raise ConfigError(
                f"{type(self).__name__} has units in multiples of {self.hidden_size_multiple}, "
                f"not {hidden}: try --hidden-size {-(-hidden // self.hidden_size_multiple) * self.hidden_size_multiple}"
            )
        self.input_size = inputs
        self.hidden_size = hidden

    @property
    def output_size(self) -> int:
        """Of what is handed on to the next layer."""
        return self.hidden_size

    @property
    def flops(self) -> int:
        """Of the matrix products of one character, forward: two for each weight of a matrix.

        A cell that has more, such as of its state with its state, adds them.
        """
        return 2 * sum(weight.numel() for weight in self.parameters() if weight.dim() > 1)

    @classmethod
    def make_upper_layer(cls, below: Self) -> "Cell":
        """A new cell of this kind that reads what `below` hands on."""
        return cls(below.output_size, below.hidden_size)

    def project_inputs(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., any): all that needs no state, for all times at once.

        Each character by itself: projecting before or after picking from a table is the same.
        """
        projected: Tensor = self.W(x)
        return projected

    def step(self, Wx: Tensor, state: State) -> State:
        """(batch, any) and the state before -> the state after."""
        raise NotImplementedError

    def initial_state(self, batch: int) -> State:
        """The state before the first character: zeros, each (batch, hidden)."""
        weight = next(self.parameters())
        return tuple(weight.new_zeros(batch, self.hidden_size) for _ in self.states)

    def unit_states(self, state: State) -> dict[str, Tensor]:
        """What each unit holds, by name, each (batch, hidden): the output first."""
        parts = zip(self.states, state, strict=True)
        return {name: part for name, part in parts if part.shape[1:] == (self.hidden_size,)}

    def retention(self, letters: dict[str, Tensor]) -> Tensor:
        """What `keeps` says, of each unit or head (..., units): of a step's letters at its end."""
        return letters[self.retention_expression]

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        """Sets biases so that at first unit j keeps the share sigmoid(bias[j]) of what it holds.

        write: (hidden,) as well, of the gate that lets new content in; None leaves it as it is.
        """
        del bias, write
        raise ConfigError(f"{type(self).__name__} has no gate that keeps: leave --forget-bias out")

    def recurrent_matrices(self) -> Iterator[Tensor]:
        """The square matrices from the state to the state, each a view of a weight."""
        if isinstance(getattr(self, "U", None), nn.Linear):
            yield from self.U.weight.data.split(self.hidden_size)


class LinearCell(Cell):
    """s' = a s + b, where a and b come from x alone; so a scan can walk all of time at once.

    s is state[0]. A cell that reads its output from s has the states (output, s), and perhaps what
    it needs of the character before.
    """

    retention_expression = "a"

    def apply_input_shift(self, Wx: Tensor, state: State) -> tuple[Tensor, State]:
        """All of time at once (time, batch, any), and the state before it -> what `coefficients`
        and `read` take, each character having what it needs of the one before; and the last
        states, those that follow s."""
        del state  # a cell whose characters stand for themselves has no such states
        return Wx, ()

    def coefficients(self, Wx: Tensor) -> tuple[Tensor, Tensor]:
        """(..., any) -> a and b, each (..., units): of one character or of all of them."""
        raise NotImplementedError

    def read_out(self, Wx: Tensor, s: Tensor) -> Tensor:
        """The output (..., hidden), for a cell whose output is not s itself."""
        raise NotImplementedError

    def step(self, Wx: Tensor, state: State) -> State:
        a, b = self.coefficients(Wx)
        s = a * state[1 if self.output_is_readout else 0] + b
        return (self.read_out(Wx, s), s) if self.output_is_readout else (s,)

    def retention(self, letters: dict[str, Tensor]) -> Tensor:
        return letters["a"]


def block_diagonal_linear(x: Tensor, weight: Tensor) -> Tensor:
    """A product with blocks: each head reads only its own share of x.

    x: (batch, heads * share), weight: (parts, heads, share, share) -> (batch, parts * heads *
    share), the parts side by side, as chunk takes them apart.
    """
    if has_torch_function((x, weight)):
        product: Tensor = handle_torch_function(block_diagonal_linear, (x, weight), x, weight)
        return product
    parts, heads, share, _ = weight.shape
    return torch.einsum("bhi,phoi->bpho", x.unflatten(-1, (heads, share)), weight).flatten(1)


CELLS: Registry[type[Cell]] = Registry("cell", "charlm.cells", INFRASTRUCTURE)
register_cell = CELLS.register


class ShapeOnlyLinear(TorchFunctionMode):
    """Of products of whole matrices there are only the sizes."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.linear:
            x, weight, *_ = args
            return x.new_empty(*x.shape[:-1], len(weight))
        return func(*args, **(kwargs or {}))


def projection_size(cell: Cell) -> int:
    """The width of what a cell's project gives.

    Of a cell without numbers, too: for its products PyTorch would load its compiler, which takes
    longer than all else that a command does.
    """
    with torch.no_grad(), ShapeOnlyLinear():
        return cell.project_inputs(next(cell.parameters()).new_zeros(1, cell.input_size)).shape[-1]
