"""CharLM: embed, recur, predict; the same shell around every cell."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear

from charlm import cells as cells
from charlm import kernels as kernels
from charlm.cell import CELLS, Cell, State
from charlm.config import Config, stream
from charlm.errors import BadData, OutOfMemory
from charlm.unroll import choose
from charlm.unroll import kernels as kernels_of

ModelState = tuple[State, ...]  # one per layer


class CharLM(nn.Module):
    """A character language model of `symbols` ids.

    Dropout is applied to what each layer hands on, the last one's output included.
    """

    def __init__(self, config: Config, symbols: int, kernel: str = "loop") -> None:
        super().__init__()
        kind = CELLS[config.cell]
        widths = [config.embedding] + [config.hidden] * (config.layers - 1)
        self.dropout = config.dropout
        self.embed = nn.Embedding(symbols, config.embedding)
        self.layers = nn.ModuleList(kind(inputs, config.hidden) for inputs in widths)
        self.starts = nn.ParameterList()
        if config.start == "learned":
            parts = [part for layer in self.recurrent for part in layer.start(1)]
            self.starts = nn.ParameterList(nn.Parameter(part) for part in parts)
        self.bias = nn.Parameter(torch.zeros(symbols))
        self.weight = (  # of the prediction
            None if config.tie else nn.Parameter(torch.empty(symbols, config.hidden))
        )
        nn.init.normal_(self.embed.weight, std=config.embedding**-0.5)
        if self.weight is not None:
            bound = config.hidden**-0.5
            nn.init.uniform_(self.weight, -bound, bound)
        self.unroll = choose(kernel, kind)

    @property
    def recurrent(self) -> list[Cell]:
        """The cells, first layer first."""
        return cast(list[Cell], list(self.layers))

    def start(self, batch: int) -> ModelState:
        """The state before the first character of each of `batch` streams."""
        zeros = tuple(layer.start(batch) for layer in self.recurrent)
        if not len(self.starts):
            return zeros
        learned = iter(self.starts)
        return tuple(tuple(next(learned).expand_as(part) for part in state) for state in zeros)

    def predict(self, h: Tensor) -> Tensor:
        """Outputs of the last layer (..., hidden) -> logits of what follows (..., symbols)."""
        return linear(h, self.embed.weight if self.weight is None else self.weight, self.bias)

    def expect(self, state: ModelState) -> Tensor:
        """Logits of the character that follows this state (batch, symbols): the first one, too."""
        return self.predict(state[-1][0])

    def forward(self, ids: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """ids (time, batch), state before -> logits (time, batch, symbols), state after."""
        h = self.embed(ids)
        after = []
        for layer, before in zip(self.recurrent, state, strict=True):
            h, last = self.unroll(layer, h, before)
            after.append(last)
            h = dropout(h, self.dropout, self.training)
        return self.predict(h), tuple(after)


def detached(state: ModelState) -> ModelState:
    """The same numbers, without the graph that made them: truncated BPTT stops here."""
    return tuple(tuple(part.detach() for part in layer) for layer in state)


def resolve_kernel(config: Config) -> str:
    """The concrete kernel that `auto` stands for: fused where the cell has it, else the loop."""
    kind = CELLS[config.cell]
    if config.kernel != "auto":
        choose(config.kernel, kind)
        return config.kernel
    return kernels_of(kind)[0]


def size(config: Config, symbols: int) -> tuple[int, int]:
    """(parameters, floats carried per stream) of the model, without making it."""
    with torch.device("meta"):
        model = CharLM(config, symbols)
        state = sum(part.numel() for layer in model.start(1) for part in layer)
    return sum(p.numel() for p in model.parameters()), state


def make(config: Config, symbols: int, kernel: str, device: str) -> CharLM:
    """A new model with its seed's weights, the same on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(config.seed, "weights"))
        return CharLM(config, symbols, kernel).to(device)


def load_weights(model: CharLM, tensors: dict[str, dict[str, Tensor]]) -> None:
    """The weights of a checkpoint, which may come from anybody, into the model they must fit."""
    try:
        model.load_state_dict(tensors["model"])
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise BadData(
            f"the checkpoint's weights are not those of its settings: {reason}"
        ) from error


def memory(config: Config, symbols: int) -> int:
    """Bytes that training needs, about: weights, gradients and moments; what BPTT keeps; logits."""
    parameters, _ = size(config, symbols)
    cell = CELLS[config.cell]
    with torch.device("meta"):
        gates = cell(1, config.hidden).W.out_features
    characters = config.batch * config.time
    kept = config.layers * (2 * gates + 4 * config.hidden) + config.embedding + 3 * symbols
    return 4 * (4 * parameters + characters * kept)


def refuse_more_than(available: int, need: int) -> None:
    """More memory than there is ends here, before anything is allocated; both in bytes."""
    if need > available:
        raise OutOfMemory(
            f"this needs about {need / 1e9:,.1f} GB and {available / 1e9:,.1f} GB are there: "
            "make --hidden, --layers, --batch or --time smaller"
        )
