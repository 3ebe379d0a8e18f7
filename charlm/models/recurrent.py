"""Base class of models: the same embedding, blocks and prediction around every cell."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from charlm.cells.base import Cell, State
from charlm.cells.loader import get_cell
from charlm.config import Config
from charlm.errors import ConfigError
from charlm.kernels.registry import get_kernel
from charlm.models.blocks import IdentityBlock, ResidualBlock
from charlm.models.convolution import CausalConvolution
from charlm.models.initialization import initialize_cell

# One per layer, with what its convolution has read; with residual blocks also the last output,
# which predicts the first token.
ModelState = tuple[State, ...]
AutocastContext = AbstractContextManager[object]
Reduction = Literal["mean", "sum"]
NO_TARGET = -100  # in targets


class RecurrentModel(nn.Module):
    """Recurrent layers, each a cell in a block.

    A subclass adds what precedes them (`embed`) and follows them (`bias` and the prediction), and
    writes `forward` and `loss_fn`.
    """

    bias: nn.Parameter

    def __init__(self, config: Config, kernel: str, device: str) -> None:
        super().__init__()
        self.hidden_size, self.kernel, self.dtype = config.hidden_size, kernel, config.dtype
        cells = build_cells(config)
        for cell in cells:
            initialize_cell(cell, config)
        self.layers = nn.ModuleList(cells)
        self.initial_states = nn.ParameterList()
        if config.initial_state == "learned":
            self.initial_states = nn.ParameterList(
                nn.Parameter(part)
                for cell in cells
                for name, part in zip(cell.states, cell.initial_state(1), strict=True)
                if name not in cell.fixed_initial_states
            )
        self.residual = config.block == "residual"
        self.input_projection: nn.Module = nn.Identity()
        self.norm: nn.Module = nn.Identity()
        self.blocks = nn.ModuleList(IdentityBlock(config.dropout) for _ in cells)
        if self.residual:
            size = config.hidden_size
            if config.embedding_dim != size:
                self.input_projection = nn.Linear(config.embedding_dim, size, bias=False)
            self.norm = nn.RMSNorm(size, eps=1e-6)
            self.blocks = nn.ModuleList(ResidualBlock(size, config.dropout) for _ in cells)
        self.convolutions = nn.ModuleList(
            CausalConvolution(cell.input_size, config.conv) for cell in cells if config.conv
        )
        self.unrolls = [get_kernel(kernel, cell, device) for cell in cells]

    @property
    def cells(self) -> list[Cell]:
        """The cells, first layer first."""
        return cast(list[Cell], list(self.layers))

    @property
    def layer_blocks(self) -> list[IdentityBlock]:
        """The block around each cell."""
        return cast(list[IdentityBlock], list(self.blocks))

    @property
    def layer_convolutions(self) -> list[CausalConvolution | None]:
        """The convolution before each cell, if there is one."""
        if not len(self.convolutions):
            return [None] * len(self.layers)
        return cast(list[CausalConvolution | None], list(self.convolutions))

    @property
    def state_names(self) -> list[tuple[str, ...]]:
        """Names of the parts of each layer's state: its cell's, then the inputs x1, x2 ... back."""
        return [
            (*cell.states, *(f"x{lag}" for lag in range(1, len(past.taps) if past else 0)))
            for cell, past in zip(self.cells, self.layer_convolutions, strict=True)
        ]

    def initial_state(self, batch_size: int) -> ModelState:
        """Return the state before the first token of each stream."""
        states = tuple(cell.initial_state(batch_size) for cell in self.cells)
        if len(self.initial_states):
            learned = iter(self.initial_states)
            states = tuple(
                tuple(
                    part if name in cell.fixed_initial_states else next(learned).expand_as(part)
                    for name, part in zip(cell.states, state, strict=True)
                )
                for cell, state in zip(self.cells, states, strict=True)
            )
        states = tuple(
            (*state, *(convolution.initial_state(batch_size) if convolution else ()))
            for state, convolution in zip(states, self.layer_convolutions, strict=True)
        )
        if not self.residual:
            return states
        return (*states, (self.bias.new_zeros(batch_size, self.hidden_size),))

    def unroll(self, x: Tensor, ids: Tensor | None, state: ModelState) -> tuple[Tensor, ModelState]:
        """Unroll all layers over time.

        Args:
            x: Inputs (time, batch, embedding_dim), or a table (vocabulary, embedding_dim).
            ids: Indices (time, batch) into the table, or None.
            state: The state before the first step.

        Returns:
            Outputs of the last layer (time, batch, output_size), and the state after the last step.
        """
        h = self.input_projection(x).to(x.dtype)  # under autocast it is bfloat16
        last_states = []
        layers = zip(
            self.unrolls,
            self.cells,
            self.layer_blocks,
            self.layer_convolutions,
            state,
            strict=False,
        )
        for unroll, cell, block, convolution, layer_state in layers:
            inputs, input_ids = block.pre_cell(h), ids
            before, past = layer_state[: len(cell.states)], layer_state[len(cell.states) :]
            # Never in bfloat16: its rounding would add up from step to step.
            with autocast(self.dtype, h.device.type, enabled=False):
                if convolution is not None:
                    inputs = inputs if ids is None else embedding(ids, inputs)
                    (inputs, past), input_ids = convolution(inputs, past), None
                outputs, last = unroll(cell, inputs, before, input_ids)
            last_states.append((*last, *past))
            h, ids = block.post_cell(h, ids, outputs), None
        h = self.norm(h)
        if self.residual:
            last_states.append((h[-1],))
        return h, tuple(last_states)

    def loss_fn(self, predictions: Tensor, y: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the mean loss per target, or the sum.

        Args:
            predictions: What `forward` returned.
            y: Targets (time, batch); -100 is no target.
            reduction: "mean" or "sum".
        """
        raise NotImplementedError

    def loss(
        self, x: Tensor, y: Tensor, state: ModelState, reduction: Reduction = "mean"
    ) -> tuple[Tensor, ModelState]:
        """Return the loss of a batch, and the state after it.

        Args:
            x: Inputs (time, batch, ...), as `forward` takes them.
            y: Targets (time, batch); -100 is no target.
            state: The state before the first step.
            reduction: "mean" per target, or "sum".
        """
        predictions, last = self(x, state)
        return self.loss_fn(predictions, y, reduction), last


def autocast(dtype: Literal["fp32", "bf16"], device_type: str, *, enabled: bool) -> AutocastContext:
    """Return a context in which products are in bfloat16, or in float32 again.

    Args:
        dtype: Numbers of the model; with fp32 the context does nothing.
        device_type: Kind of device, such as "cuda".
        enabled: Whether products are in bfloat16.
    """
    if dtype == "fp32":
        return nullcontext()
    return torch.autocast(device_type, torch.bfloat16, enabled=enabled)


Model = TypeVar("Model", bound=RecurrentModel)
ModelFactory = Callable[[Config, int, str, str], Model]  # config, input size, kernel, device


def build_cell(config: Config, input_size: int) -> Cell:
    """Return a new cell that reads `input_size` numbers, with the options that it has.

    Raises:
        ConfigError: The number of units is not a multiple of what the cell needs.
    """
    cell_type = get_cell(config.cell)
    options = {name: getattr(config, name) for name in cell_type.options}
    return cell_type(input_size, config.hidden_size, **options)


def build_cells(config: Config) -> list[Cell]:
    """Return new cells, first layer first.

    Raises:
        ConfigError: The cell does not fit into a residual block.
    """
    size = config.hidden_size
    if config.block == "residual":
        cells = [build_cell(config, size) for _ in range(config.num_layers)]
        if cells[0].output_size != size:
            raise ConfigError(
                f"cannot use --block residual: {config.cell} reads {size} numbers and outputs "
                f"{cells[0].output_size}, which cannot be added. Try --block none"
            )
        return cells
    cells = [build_cell(config, config.embedding_dim)]
    while len(cells) < config.num_layers:
        cells.append(cells[-1].make_upper_layer(cells[-1]))
    return cells


def detach_state(state: ModelState) -> ModelState:
    """Return the state without its graph: truncated backpropagation stops here."""
    return tuple(tuple(part.detach() for part in layer) for layer in state)


def reset_streams(state: ModelState, initial: ModelState, is_reset: Tensor) -> ModelState:
    """Return the state in which some streams start afresh; no gradient flows into their old one.

    Args:
        state: State of all streams.
        initial: Their initial state.
        is_reset: Which streams start afresh, (batch,), booleans.
    """
    return tuple(
        tuple(
            torch.where(is_reset.view(-1, *(1,) * (part.dim() - 1)), first, part)
            for part, first in zip(*layers, strict=True)
        )
        for layers in zip(state, initial, strict=True)
    )
