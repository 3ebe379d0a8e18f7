"""The model: the same shell around every cell; CharLM, which reads and predicts characters."""

from collections.abc import Callable
from typing import TypeVar, cast

from torch import Tensor, nn

from charlm.cells.base import Cell, State
from charlm.cells.loader import get_cell
from charlm.config import Config
from charlm.data.batches import Batch
from charlm.errors import ConfigError
from charlm.kernels.registry import get_kernel
from charlm.models.blocks import IdentityBlock, ResidualBlock
from charlm.models.initialization import initialize_cell

# One per layer; and in residual blocks the last output, as the first character is expected from it.
ModelState = tuple[State, ...]


class RecurrentModel(nn.Module):
    """Layer by layer a cell and what stands around it (block.py).

    What comes before (numbers for each character) and after (what is made of the output) is a
    subclass's: it has `bias`, of its predictions, and says in `cost` how far off they are.
    """

    bias: nn.Parameter

    def __init__(self, config: Config, kernel: str, device: str) -> None:
        super().__init__()
        self.hidden, self.kernel = config.hidden_size, kernel
        layers = build_cells(config)
        for layer in layers:
            initialize_cell(layer, config)
        self.layers = nn.ModuleList(layers)
        self.initial_states = nn.ParameterList()
        if config.initial_state == "learned":
            self.initial_states = nn.ParameterList(
                nn.Parameter(part)
                for layer in self.cells
                for name, part in zip(layer.states, layer.initial_state(1), strict=True)
                if name not in layer.fixed_initial_states
            )
        self.residual = config.block == "residual"
        self.input_projection: nn.Module = nn.Identity()
        self.norm: nn.Module = nn.Identity()
        self.blocks = nn.ModuleList(IdentityBlock(config.dropout) for _ in layers)
        if self.residual:
            width = config.hidden_size
            if config.embedding_dim != width:
                self.input_projection = nn.Linear(config.embedding_dim, width, bias=False)
            self.norm = nn.RMSNorm(width, eps=1e-6)
            self.blocks = nn.ModuleList(ResidualBlock(width, config.dropout) for _ in layers)
        self.unrolls = [get_kernel(kernel, layer, device) for layer in layers]

    @property
    def cells(self) -> list[Cell]:
        """The cells, first layer first."""
        return cast(list[Cell], list(self.layers))

    @property
    def layer_blocks(self) -> list[IdentityBlock]:
        """What stands around each of them."""
        return cast(list[IdentityBlock], list(self.blocks))

    def initial_state(self, batch: int) -> ModelState:
        """The state before the first character of each of `batch` streams."""
        states = tuple(layer.initial_state(batch) for layer in self.cells)
        if len(self.initial_states):
            learned = iter(self.initial_states)
            states = tuple(
                tuple(
                    part if name in layer.fixed_initial_states else next(learned).expand_as(part)
                    for name, part in zip(layer.states, state, strict=True)
                )
                for layer, state in zip(self.cells, states, strict=True)
            )
        return (*states, (self.bias.new_zeros(batch, self.hidden),)) if self.residual else states

    def unroll(self, x: Tensor, ids: Tensor | None, state: ModelState) -> tuple[Tensor, ModelState]:
        """x (time, batch, embedding), or a table (symbols, embedding) that ids (time, batch) pick
        from -> what the last layer hands on, (time, batch, width), and the state after."""
        h = self.input_projection(x)
        after = []
        layers = zip(self.unrolls, self.cells, self.layer_blocks, state, strict=False)
        for unroll, layer, block, before in layers:
            outputs, last = unroll(layer, block.pre_cell(h), before, ids)
            after.append(last)
            h, ids = block.post_cell(h, ids, outputs), None
        h = self.norm(h)
        if self.residual:
            after.append((h[-1],))
        return h, tuple(after)

    def loss_fn(self, predictions: Tensor, y: Tensor) -> Tensor:
        """What forward makes of x, and y (time, batch) -> the mean cost, to be made small, of a
        target; -100 is none."""
        raise NotImplementedError

    def loss(self, batch: Batch, state: ModelState) -> tuple[Tensor, ModelState]:
        """What the batch cost per target, and the state after it."""
        predictions, after = self(batch.x, state)
        return self.loss_fn(predictions, batch.y), after


Model = TypeVar("Model", bound=RecurrentModel)
ModelFactory = Callable[[Config, int, str, str], Model]  # settings, symbols, kernel and device


def build_cells(config: Config) -> list[Cell]:
    """New cells, first layer first."""
    kind, hidden = get_cell(config.cell), config.hidden_size
    if config.block == "residual":
        layers = [kind(hidden, hidden) for _ in range(config.num_layers)]
        if layers[0].output_size != hidden:
            raise ConfigError(
                f"--block residual: {config.cell} hands on more than its output, which cannot be "
                "added to what it reads. Use --block none"
            )
        return layers
    layers = [kind(config.embedding_dim, hidden)]
    while len(layers) < config.num_layers:
        layers.append(layers[-1].make_upper_layer(layers[-1]))
    return layers


def detach_state(state: ModelState) -> ModelState:
    """The same numbers, without the graph that made them: truncated BPTT stops here."""
    return tuple(tuple(part.detach() for part in layer) for layer in state)
