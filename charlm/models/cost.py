"""Cost of a model before it is built: parameters, state, memory, FLOPs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from charlm.cells.products import projection_size
from charlm.config import Config
from charlm.errors import InsufficientMemoryError
from charlm.models.char_lm import CharLM
from charlm.models.recurrent import ModelFactory, RecurrentModel, build_cells

BYTES_PER_NUMBER = 4  # float32


class SkipInitialization(TorchFunctionMode):
    """Skip torch.nn.init.

    On the meta device there is nothing to fill. To find that out PyTorch would load its compiler,
    which takes longer than everything else that a command does.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        keywords = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return keywords["tensor"] if keywords else args[0]
        return func(*args, **keywords)


@contextmanager
def meta_device() -> Iterator[None]:
    """Build models with shapes, but without memory and numbers."""
    with torch.device("meta"), SkipInitialization():
        yield


def count_parameters_and_state(
    config: Config, vocabulary_size: int, model_class: ModelFactory[RecurrentModel] = CharLM
) -> tuple[int, int]:
    """Return the parameters of a model, and the numbers that it carries per stream.

    An output that its cell only computes from the rest of its state is not carried.
    """
    with meta_device():
        model = model_class(config, vocabulary_size, "loop", "cpu")
        state_size = sum(
            part.numel()
            for cell, parts in zip(model.cells, model.initial_state(1), strict=False)
            for part in parts[cell.output_is_readout :]
        )
    return sum(p.numel() for p in model.parameters()), state_size


def estimate_training_memory(config: Config, vocabulary_size: int) -> int:
    """Return about how many bytes training needs.

    It counts weights, gradients and moments; what backpropagation saves; and logits.
    """
    parameters, state_size = count_parameters_and_state(config, vocabulary_size)
    with meta_device():
        cell, *_ = build_cells(config)
    length = min(config.recompute or config.seq_len, config.seq_len)
    kept_states = config.seq_len // length - 1  # between pieces
    tokens = config.batch_size * length
    block = 12 if config.block == "residual" else 0  # two norms, a gated MLP, two sums
    per_layer = 2 * projection_size(cell) + (4 + block) * config.hidden_size
    per_token = config.num_layers * per_layer + config.embedding_dim + 3 * vocabulary_size
    # A state is joined with the inputs, copied contiguously, and has a gradient.
    state = (8 + kept_states) * config.batch_size * state_size
    return BYTES_PER_NUMBER * (4 * parameters + state + tokens * per_token)


def check_memory(available: int, needed: int, purpose: Literal["train", "load"] = "train") -> None:
    """Raise before anything is allocated if there is not enough memory; both in bytes.

    Raises:
        InsufficientMemoryError: More is needed than available.
    """
    if needed > available:
        remedy = (
            "a smaller --hidden-size, --num-layers, --batch-size or --seq-len, or --recompute"
            if purpose == "train"
            else "to free memory, or another machine"
        )
        raise InsufficientMemoryError(
            f"cannot {purpose} this model: it needs about {needed / 1e9:,.1f} GB, and "
            f"{available / 1e9:,.1f} GB are available. Try {remedy}"
        )


def flops_per_character(
    config: Config, vocabulary_size: int, model_class: ModelFactory[RecurrentModel] = CharLM
) -> int:
    """Return the FLOPs of the matrix products of a model's forward pass, per token.

    They are two per weight of every matrix, and what its cells add (`Cell.flops`). Elementwise
    operations and embedding lookups are not counted.
    """
    with meta_device():
        model = model_class(config, vocabulary_size, "loop", "cpu")
    excluded = [*model.layers.parameters(), *model.initial_states]
    if isinstance(model.embed, nn.Embedding) and not config.tie_weights:
        excluded.append(model.embed.weight)
    others = {*model.parameters()}.difference(excluded)
    cells = sum(layer.flops for layer in (*model.cells, *model.layer_convolutions) if layer)
    return cells + 2 * sum(weight.numel() for weight in others if weight.dim() > 1)
