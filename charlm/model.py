"""CharLM: embed, recur, predict; the same shell around every cell."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear

from charlm import kernels as kernels
from charlm.cell import Cell, State
from charlm.config import Config, stream
from charlm.errors import BadData, OutOfMemory
from charlm.unroll import FASTEST, choose, refusal
from charlm.unroll import kernels as kernels_of
from charlm.zoo import find

ModelState = tuple[State, ...]  # one per layer


class CharLM(nn.Module):
    """A character language model of `symbols` ids.

    Dropout is applied to what each layer hands on, the last one's output included.
    """

    def __init__(
        self, config: Config, symbols: int, kernel: str = "loop", device: str = "cpu"
    ) -> None:
        super().__init__()
        kind = find(config.cell)
        self.dropout, self.hidden = config.dropout, config.hidden
        self.embed = nn.Embedding(symbols, config.embedding)
        layers: list[Cell] = [kind(config.embedding, config.hidden)]
        while len(layers) < config.layers:
            layers.append(layers[-1].above(layers[-1]))
        self.layers = nn.ModuleList(layers)
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
        self.unrolls = [choose(kernel, layer, device) for layer in layers]

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
        """Outputs of the last layer (..., width) -> logits of what follows (..., symbols)."""
        weight = self.embed.weight if self.weight is None else self.weight
        # A slice that takes all would still cost a copy on the way back.
        return linear(h if h.shape[-1] == self.hidden else h[..., : self.hidden], weight, self.bias)

    def expect(self, state: ModelState) -> Tensor:
        """Logits of the character that follows this state (batch, symbols): the first one, too."""
        return self.predict(state[-1][0])

    def forward(self, ids: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """ids (time, batch), state before -> logits (time, batch, symbols), state after."""
        h: Tensor = self.embed.weight
        picked: Tensor | None = ids  # the first layer may project the table instead of the text
        after = []
        for unroll, layer, before in zip(self.unrolls, self.recurrent, state, strict=True):
            h, last = unroll(layer, h, before, picked)
            after.append(last)
            h, picked = dropout(h, self.dropout, self.training), None
        return self.predict(h), tuple(after)


def detached(state: ModelState) -> ModelState:
    """The same numbers, without the graph that made them: truncated BPTT stops here."""
    return tuple(tuple(part.detach() for part in layer) for layer in state)


def resolve_kernel(config: Config, device: str = "cpu") -> tuple[str, str]:
    """The concrete kernel for this device that every layer has, and why it was chosen."""
    with torch.device("meta"):
        layers = CharLM(config, 1).recurrent
    if config.kernel != "auto":
        for layer in layers:
            choose(config.kernel, layer, device)
        return config.kernel, "asked for"
    able = [kernels_of(layer, device) for layer in layers]
    fastest = next(name for name in able[0] if all(name in names for names in able))
    before = FASTEST[device.partition(":")[0]]
    passed = before[: before.index(fastest)]
    why = [
        why
        for name in passed
        if not (why := refusal(name, layers[0], device)).endswith(name + " kernel")
    ]
    return fastest, "; ".join(["the fastest here", *why])


def size(config: Config, symbols: int) -> tuple[int, int]:
    """(parameters, floats carried per stream) of the model, without making it.

    An output that its cell only reads from the rest of its state is not carried.
    """
    with torch.device("meta"):
        model = CharLM(config, symbols)
        state = sum(
            part.numel()
            for layer, parts in zip(model.recurrent, model.start(1), strict=True)
            for part in parts[layer.read_out :]
        )
    return sum(p.numel() for p in model.parameters()), state


def make(config: Config, symbols: int, kernel: str, device: str) -> CharLM:
    """A new model with its seed's weights, the same on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(config.seed, "weights"))
        return CharLM(config, symbols, kernel, device).to(device)


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
    with torch.device("meta"):
        cell = find(config.cell)(config.embedding, config.hidden)
        gates = cell.project(torch.empty(1, config.embedding)).shape[-1]
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
