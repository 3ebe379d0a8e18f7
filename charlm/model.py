"""The model: the same shell around every cell; CharLM, which reads and predicts characters."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear
from torch.overrides import TorchFunctionMode

from charlm import kernels as kernels
from charlm.beginning import initialize_cell
from charlm.block import IdentityBlock, ResidualBlock
from charlm.cell import Cell, State, projection_size
from charlm.config import Config, derive_seed
from charlm.corpus import Batch
from charlm.errors import ConfigError, DataError, InsufficientMemoryError
from charlm.unroll import KERNEL_PRIORITY, get_kernel, unsupported_reason, embed_if_shorter
from charlm.unroll import supported_kernels as kernels_of
from charlm.zoo import get_cell

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


class CharLM(RecurrentModel):
    """A character language model of `symbols` ids: embed, recur, predict."""

    def __init__(
        self, config: Config, symbols: int, kernel: str = "loop", device: str = "cpu"
    ) -> None:
        embed = nn.Embedding(symbols, config.embedding_dim)  # random numbers: before those of the cells
        super().__init__(config, kernel, device)
        self.embed = embed
        self.bias = nn.Parameter(torch.zeros(symbols))
        self.weight = (  # of the prediction
            None if config.tie_weights else nn.Parameter(torch.empty(symbols, config.hidden_size))
        )
        nn.init.normal_(self.embed.weight, std=config.embedding_dim**-0.5)
        if self.weight is not None:
            bound = config.hidden_size**-0.5
            nn.init.uniform_(self.weight, -bound, bound)

    def predict(self, h: Tensor) -> Tensor:
        """Outputs of the last layer (..., width) -> logits of what follows (..., symbols)."""
        weight = self.embed.weight if self.weight is None else self.weight
        # A slice that takes all would still cost a copy on the way back.
        return linear(h if h.shape[-1] == self.hidden else h[..., : self.hidden], weight, self.bias)

    def next_token_logits(self, state: ModelState) -> Tensor:
        """Logits of the character that follows this state (batch, symbols): the first one, too."""
        return self.predict(state[-1][0])

    def forward(self, ids: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """ids (time, batch), state before -> logits (time, batch, symbols), state after."""
        # The first layer may project the table of characters instead of a longer text.
        h, after = self.unroll(*embed_if_shorter(self.embed.weight, ids), state)
        return self.predict(h), after

    def advance(self, ids: Tensor, state: ModelState) -> ModelState:
        """The state after ids (time, batch), without predicting what follows each."""
        _, after = self.unroll(*embed_if_shorter(self.embed.weight, ids), state)
        return after

    def cost(self, predictions: Tensor, y: Tensor) -> Tensor:
        """Nats per character that follows."""
        return cross_entropy(predictions.flatten(0, 1), y.flatten())


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


class SkipInitialization(TorchFunctionMode):
    """Nothing is drawn for weights: on the meta device there is nothing to fill, and to find that
    out PyTorch would load its compiler, which takes longer than all else that a command does."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return given["tensor"] if given else args[0]
        return func(*args, **given)


@contextmanager
def meta_device() -> Iterator[None]:
    """A model that is made here has sizes, but neither memory nor numbers."""
    with torch.device("meta"), SkipInitialization():
        yield


def select_kernel(config: Config, device: str = "cpu") -> tuple[str, str]:
    """The concrete kernel for this device that every layer has, and why it was chosen."""
    with meta_device():
        layers = CharLM(config, 1).cells
    if config.kernel != "auto":
        for layer in layers:
            get_kernel(config.kernel, layer, device)
        return config.kernel, "asked for"
    able = [kernels_of(layer, device) for layer in layers]
    if config.threads > 1 and device == "cpu" and all("fused" in names for names in able):
        return "fused", f"PyTorch's own uses all {config.threads} threads, compiled ones only one"
    fastest = next(name for name in able[0] if all(name in names for names in able))
    before = KERNEL_PRIORITY[device.partition(":")[0]]
    passed = before[: before.index(fastest)]
    why = [
        why
        for name in passed
        if not (why := unsupported_reason(name, layers[0], device)).endswith(name + " kernel")
    ]
    return fastest, "; ".join(["the fastest here", *why])


def count_parameters_and_state(config: Config, symbols: int, kind: ModelFactory[RecurrentModel] = CharLM) -> tuple[int, int]:
    """(parameters, floats carried per stream) of the model, without making it.

    An output that its cell only reads from the rest of its state is not carried.
    """
    with meta_device():
        model = kind(config, symbols, "loop", "cpu")
        state = sum(
            part.numel()
            for layer, parts in zip(model.cells, model.initial_state(1), strict=False)
            for part in parts[layer.output_is_readout :]
        )
    return sum(p.numel() for p in model.parameters()), state


def build_char_lm(config: Config, symbols: int, kernel: str, device: str) -> CharLM:
    """A new model of characters with its seed's weights, the same on every device."""
    return build_model(CharLM, config, symbols, kernel, device)


def build_model(kind: ModelFactory[Model], config: Config, symbols: int, kernel: str, device: str) -> Model:
    """Likewise, of any kind."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "weights"))
        return kind(config, symbols, kernel, device).to(device)


def load_weights(model: RecurrentModel, tensors: dict[str, dict[str, Tensor]]) -> None:
    """The weights of a checkpoint, which may come from anybody, into the model they must fit."""
    try:
        model.load_state_dict(tensors["model"])
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise DataError(
            f"the checkpoint's weights are not those of its settings: {reason}"
        ) from error


def estimate_training_memory(config: Config, symbols: int) -> int:
    """Bytes that training needs, about: weights, gradients and moments; what BPTT keeps; logits."""
    parameters, state = count_parameters_and_state(config, symbols)
    with meta_device():
        cell, *_ = build_cells(config)
    gates = projection_size(cell)
    characters = config.batch_size * config.seq_len
    around = 12 if config.block == "residual" else 0  # two norms, a gated MLP, two sums
    layer = 2 * gates + (4 + around) * config.hidden_size
    kept = config.num_layers * layer + config.embedding_dim + 3 * symbols
    carried = 8 * config.batch_size * state  # joined with what is read, laid out anew, and gradients
    return 4 * (4 * parameters + carried + characters * kept)


def check_memory(available: int, need: int) -> None:
    """More memory than there is ends here, before anything is allocated; both in bytes."""
    if need > available:
        raise InsufficientMemoryError(
            f"this needs about {need / 1e9:,.1f} GB and {available / 1e9:,.1f} GB are there: "
            "make --hidden, --layers, --batch or --time smaller"
        )
