"""TODO docstring."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from charlm.cells.base import projection_size
from charlm.config import Config
from charlm.errors import InsufficientMemoryError
from charlm.models.char_lm import CharLM
from charlm.models.recurrent import ModelFactory, RecurrentModel, build_cells


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


def count_parameters_and_state(
    config: Config, symbols: int, kind: ModelFactory[RecurrentModel] = CharLM
) -> tuple[int, int]:
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
    carried = (
        8 * config.batch_size * state
    )  # joined with what is read, laid out anew, and gradients
    return 4 * (4 * parameters + carried + characters * kept)


def check_memory(available: int, need: int) -> None:
    """More memory than there is ends here, before anything is allocated; both in bytes."""
    if need > available:
        raise InsufficientMemoryError(
            f"this needs about {need / 1e9:,.1f} GB and {available / 1e9:,.1f} GB are there: "
            "make --hidden-size, --num-layers, --batch-size or --seq-len smaller"
        )


def flops_per_character(
    config: Config, symbols: int, kind: ModelFactory[RecurrentModel] = CharLM
) -> int:
    """Of the matrix products of a whole model for one character, forward.

    Two for each weight of every matrix, and what its cells have more (Cell.flops). Nothing that is
    done to each number by itself is counted, nor the table from which characters are only picked.
    """
    with meta_device():
        model = kind(config, symbols, "loop", "cpu")
    apart = [*model.layers.parameters(), *model.initial_states]
    if isinstance(model.embed, nn.Embedding) and not config.tie_weights:
        apart.append(model.embed.weight)
    others = {*model.parameters()}.difference(apart)
    cells = sum(cell.flops for cell in model.cells)
    return cells + 2 * sum(weight.numel() for weight in others if weight.dim() > 1)
