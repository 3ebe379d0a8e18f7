"""Base class for recurrent cells: parameters in the module, time in a pure `step`."""

import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Self, TypeVar

from torch import Tensor, nn

from charlm.cells.names import (
    CELL_LISTING,
    CELL_NAMES,
    FILE_OF,
    INFRASTRUCTURE,
    REGISTERED_NAMES,
)
from charlm.cells.recorded_names import check_recorded
from charlm.errors import ConfigError
from charlm.registry import Registry

DEFAULT_NUM_HEADS = 4
State = tuple[Tensor, ...]  # each (batch, ...); state[0] is the output (batch, output_size)


class Cell(nn.Module):
    """Base class for recurrent cells.

    A subclass creates its parameters in `__init__` and writes its equations in `step`:

        from torch import nn, sigmoid, tanh

        from charlm.cells.base import Cell


        class Leaky(Cell):
            '''Leaky tanh unit.

            f = sigmoid(W_f x + b_f)                forget gate: 1 retains, 0 replaces
            h' = f h + (1 - f) tanh(W_g x + U h + b_g)

            Parameters: 2H(X + 1) + H*H for X inputs and H units.
            '''

            gate_descriptions = {"f": "forget gate: 1 retains, 0 replaces"}
            candidate_name = "g"
            retention_expression = "f"

            def __init__(self, input_size, hidden_size):
                super().__init__(input_size, hidden_size)
                self.W = nn.Linear(input_size, 2 * hidden_size)
                self.U = nn.Linear(hidden_size, hidden_size, bias=False)

            def step(self, Wx, state):
                (h,) = state
                f, g = Wx.chunk(2, dim=-1)
                f, g = sigmoid(f), tanh(g + self.U(h))
                self.record(f=f, g=g)
                return (f * h + (1 - f) * g,)

    The contract, which `charlm cells check FILE.py:CLASS` tests:

    *   `project_inputs` maps x (..., input_size) to Wx (..., any), each token by itself. It runs
        once for all time steps, or once for each entry of the embedding table. The default is
        `self.W`.
    *   `step` maps Wx (batch, any) and the last state to the next state. It is pure: it modifies
        nothing, draws no random numbers, and mixes no streams of the batch.
    *   A state is a tuple of tensors, one for each name in `states`, each (batch, ...). The first
        is the output (batch, output_size). Its first `hidden_size` numbers predict the next token.
    *   What `step` computes from weights alone may be computed once for all steps: then `prepared`
        returns a copy of the cell that holds it.
    *   `initial_state` is the same for every stream: by default zeros (batch, hidden_size).
    *   The docstring of the class states the number of parameters for X inputs and H units, as in
        the last line of the example: `Parameters: 2H(X + 1) + H*H for X inputs and H units.`

    Gates are optional: `inspect` and `timescales` show them, training does not need them. A cell
    that names gates passes their values to `self.record(name=value, ...)`, in `step` or in a method
    that `step` calls. Every name in `gate_descriptions` and `candidate_name` must be a keyword of
    such a call, and `retention_expression` too unless `retention` is overridden: else creating the
    class raises TypeError. If units retain the fraction 1 - z, record it (`k=1 - z`) and name "k",
    or override `retention`. `record` does nothing until `charlm.models.activation_capture` observes
    the cell.

    Attributes:
        states: Names of the parts of the state; the output comes first.
        fixed_initial_states: State parts whose initial value is fixed, even with
            `initial_state="learned"`.
        output_is_readout: Whether `step` ignores the previous state[0], which is only computed from
            the other parts.
        hidden_size_multiple: Hidden_size must be a multiple of this, and of the number of heads.
        options: Settings that the cell has besides its sizes, of "num_heads" (heads of a matrix
            state) and "eigenvalues" ("positive" or "signed", of a linear transition). Each is a
            keyword argument of `__init__` with a default, and an attribute.
        gate_descriptions: Gate name -> description. A recorded gate has values in [0, 1], per unit
            or per head.
        candidate_name: Name of the recorded candidate: the new content that a gate lets in.
        retention_expression: Name of the recorded value that is the fraction of its state that a
            unit retains in a step. A class that overrides `retention` may write an expression.
        retention_is_constant: Whether that fraction does not depend on the input.
        bias_gates: Names of the first chunks of `gate_bias`, `hidden_size` numbers each, in order.
            `gate_bias` is `self.W.bias` unless it is overridden.
        forget_gate: The name in `bias_gates` of the chunk whose bias makes units retain. The option
            `--forget-bias` sets this chunk. A cell with forget_gate = "" refuses the option: it has
            no such gate, or starts with time constants of its own.
        input_gate: The name in `bias_gates` of the chunk whose bias lets new content in, or "".
            `--forget-bias chrono` sets it to the negative of the forget bias.
    """

    states: ClassVar[tuple[str, ...]] = ("h",)
    fixed_initial_states: ClassVar[tuple[str, ...]] = ()
    output_is_readout: ClassVar[bool] = False
    hidden_size_multiple: ClassVar[int] = 1
    options: ClassVar[tuple[str, ...]] = ()

    gate_descriptions: ClassVar[dict[str, str]] = {}
    candidate_name: ClassVar[str] = ""
    retention_expression: ClassVar[str] = ""
    retention_is_constant: ClassVar[bool] = False

    bias_gates: ClassVar[tuple[str, ...]] = ()
    forget_gate: ClassVar[str] = ""
    input_gate: ClassVar[str] = ""

    W: nn.Linear  # input-to-hidden weights
    U: nn.Linear  # hidden-to-hidden weights
    recorded: dict[str, Tensor] | None = None  # receives values of `record`; None: not observed

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Check that every named gate is recorded.

        Raises:
            TypeError: A named gate is not a keyword of `self.record(...)` in any method.
        """
        super().__init_subclass__(**kwargs)
        if cls.step is Cell.step:  # an abstract class: it has no step yet
            return
        names = {*cls.gate_descriptions, cls.candidate_name} - {""}
        own_retention = cls.retention is not Cell.retention
        check_recorded(cls, names, "" if own_retention else cls.retention_expression)

    def __init__(self, input_size: int, hidden_size: int, *, num_heads: int = 1) -> None:
        """Create the cell's parameters.

        Args:
            input_size: Width of the input x.
            hidden_size: Number of units.
            num_heads: Number of heads, between which the units are divided.

        Raises:
            ConfigError: Hidden_size is not a multiple of `size_multiple(num_heads)`.
        """
        super().__init__()
        multiple = self.size_multiple(num_heads)
        if hidden_size % multiple:
            raise ConfigError(
                f"cannot use {hidden_size} units: {cell_name(type(self))} needs a multiple of "
                f"{multiple}. Try --hidden-size {-(-hidden_size // multiple) * multiple}"
            )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_heads = num_heads

    @classmethod
    def size_multiple(cls, num_heads: int = DEFAULT_NUM_HEADS) -> int:
        """Return the number of which hidden_size must be a multiple."""
        heads = num_heads if "num_heads" in cls.options else 1
        return math.lcm(cls.hidden_size_multiple, heads)

    @property
    def output_size(self) -> int:
        """Width of state[0], which the next layer reads."""
        return self.hidden_size

    @property
    def flops(self) -> int:
        """FLOPs of the matrix products of one forward step: two per weight of a matrix.

        A cell with other products, such as of two states, adds them.
        """
        return 2 * sum(weight.numel() for weight in self.parameters() if weight.dim() > 1)

    @property
    def step_flops(self) -> int:
        """FLOPs of the matrix products that `step` computes: more, if `flops` omits unused ones."""
        return self.flops

    @property
    def gate_bias(self) -> Tensor:
        """The bias that `bias_gates` describes."""
        return self.W.bias

    @classmethod
    def make_upper_layer(cls, below: Self) -> "Cell":
        """Return a new cell of this kind and options that reads the output of `below`."""
        options = {name: getattr(below, name) for name in cls.options}
        return cls(below.output_size, below.hidden_size, **options)

    def project_inputs(self, x: Tensor) -> Tensor:
        """Compute what needs no state, for all time steps at once.

        Each token is projected by itself, so that an embedding table can be projected instead.

        Args:
            x: Inputs (..., input_size).

        Returns:
            Projected inputs (..., any).
        """
        projected: Tensor = self.W(x)
        return projected

    def step(self, Wx: Tensor, state: State) -> State:
        """Return the next state.

        Args:
            Wx: Projected input of one time step (batch, any).
            state: The last state, as `initial_state` or `step` returned it.
        """
        raise NotImplementedError

    def prepared(self) -> "Cell":
        """Return the cell whose `step` an unroll calls: by default this one.

        A cell whose step needs what depends on weights alone, such as the exponential of a matrix,
        returns a copy that holds it, with its gradient. Without it `step` is only slower.
        """
        return self

    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first token: zeros, each (batch, hidden_size)."""
        weight = next(self.parameters())
        return tuple(weight.new_zeros(batch_size, self.hidden_size) for _ in self.states)

    def record(self, **values: Tensor) -> None:
        """Pass values of this step to an observer, by name; without one this does nothing.

        Args:
            values: Each (batch, units), (batch, heads, ...) or, if all streams share it, (units,).
        """
        if self.recorded is not None:
            self.recorded.update(values)

    def unit_states(self, state: State) -> dict[str, Tensor]:
        """Return the per-unit state by name, each (batch, hidden_size); the output comes first."""
        parts = zip(self.states, state, strict=True)
        return {name: part for name, part in parts if part.shape[1:] == (self.hidden_size,)}

    def retention(self, recorded: dict[str, Tensor]) -> Tensor:
        """Return the fraction of its state that each unit or head retains in a step, (..., units).

        Args:
            recorded: What the step recorded, by name.
        """
        return recorded[self.retention_expression]

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        """Set biases so that unit j at first retains the fraction sigmoid(bias[j]) of its state.

        Args:
            bias: (hidden_size,).
            write: Bias of the gate that lets new content in, (hidden_size,). It is ignored by a
                cell without such a gate. None leaves the gate as it is.

        Raises:
            ConfigError: The cell has no forget gate, or starts with time constants of its own.
        """
        if not self.forget_gate:
            has_own = self.retention_expression or type(self).retention is not Cell.retention
            reason = "starts with time constants of its own" if has_own else "has no forget gate"
            raise ConfigError(
                f"cannot set a forget bias: {cell_name(type(self))} {reason}. "
                "Leave --forget-bias out"
            )
        chunks = self.gate_bias.data.split(self.hidden_size)
        bias_of = dict(zip(self.bias_gates, chunks, strict=False))
        bias_of[self.forget_gate].copy_(bias)
        if write is not None and self.input_gate:
            bias_of[self.input_gate].copy_(write)

    def recurrent_matrices(self) -> Iterator[Tensor]:
        """Yield the square hidden-to-hidden matrices, each a view of a weight."""
        if isinstance(getattr(self, "U", None), nn.Linear):
            yield from self.U.weight.data.split(self.hidden_size)


CellType = TypeVar("CellType", bound=Cell)
CELLS: Registry[type[Cell]] = Registry("cell", "charlm.cells", INFRASTRUCTURE, listing=CELL_LISTING)


def register_cell(name: str) -> Callable[[type[CellType]], type[CellType]]:
    """Return a decorator that registers a cell under a name, for this process."""

    def register(cell_type: type[CellType]) -> type[CellType]:
        CELLS.register(name)(cell_type)
        if name not in (*CELL_NAMES, *REGISTERED_NAMES):
            REGISTERED_NAMES.append(name)
        return cell_type

    return register


def cell_name(cell_type: type[Cell]) -> str:
    """Return the name of a registered cell, as options take it; of another, that of its class."""
    module = cell_type.__module__.rpartition(".")[2].replace("_", "-")
    for name in (module, *FILE_OF, *REGISTERED_NAMES):
        if name in (*CELL_NAMES, *REGISTERED_NAMES) and CELLS[name] is cell_type:
            return name
    return cell_type.__name__
