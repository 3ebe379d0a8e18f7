"""Cost of a model before it is built: parameters, state, memory, FLOPs."""

from functools import cache
from typing import Any, Literal

import torch
from torch import nn

from charlm.cells.base import Cell
from charlm.cells.gated_linear_attention import GLA, HGRN2
from charlm.cells.linear_cell import LinearCell
from charlm.cells.loader import get_cell
from charlm.cells.products import projection_size
from charlm.config import Config
from charlm.errors import InsufficientMemoryError
from charlm.kernels.registry import device_kind, supported_kernels
from charlm.models.char_lm import CharLM
from charlm.models.recurrent import ModelFactory, RecurrentModel, build_cells
from charlm.models.shapes import meta_device

BYTES_PER_NUMBER = 4  # float32
# How many matrices or windows of the state are kept for the gradient, per step.
STATES_OF_LOOP = 1.75  # measured: 1 (attention, deltanet) to 3.1 (m2rnn); 2.4 in mamba's scan
STATES_OF_OTHERS = 0.1  # one of several steps
PAIRS_PER_UNIT = 32  # of a chunk, if each key has its decay; in place of states


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


def estimate_training_memory(config: Config, vocabulary_size: int, device: str) -> int:
    """Return about how many bytes training needs on this device.

    It counts weights, gradients and moments; what backpropagation saves; and logits. What is saved
    of a large state depends on the kernel. A cell that computes much in a step, such as
    `highway-rnn` with its ten layers, needs up to five times as much.
    """
    parameters, state_size = count_parameters_and_state(config, vocabulary_size)
    with meta_device():
        cell, *_ = build_cells(config)
        sizes = [part.numel() for part in cell.initial_state(1)]
    length = min(config.recompute or config.seq_len, config.seq_len)
    kept_states = config.seq_len // length - 1  # between pieces
    tokens = config.batch_size * length
    block = 12 if config.block == "residual" else 0  # two norms, a gated MLP, two sums
    per_layer = 2 * projection_size(cell) + (4 + block) * config.hidden_size
    if large := sum(size for size in sizes if size > 4 * config.hidden_size):
        kernel = config.kernel
        if kernel == "auto":
            options = tuple((name, getattr(cell, name)) for name in cell.options)
            kernel = _fastest_kernel(config.cell, options, device_kind(device))
        per_layer += _kept_of_state(cell, kernel, large)
    per_token = config.num_layers * per_layer + config.embedding_dim + 3 * vocabulary_size
    # A state is joined with the inputs, copied contiguously, and has a gradient.
    state = (4 + kept_states) * config.batch_size * state_size
    return BYTES_PER_NUMBER * (4 * parameters + state + tokens * per_token)


def _kept_of_state(cell: Cell, kernel: str, size: int) -> int:
    """Return how many numbers a kernel keeps per step of matrices and windows of this size."""
    is_linear = isinstance(cell, LinearCell)
    if kernel == "loop" or (kernel == "scan" and is_linear):
        return int(STATES_OF_LOOP * size)
    if kernel == "scan" and isinstance(cell, GLA | HGRN2):
        return PAIRS_PER_UNIT * cell.hidden_size
    return 0 if kernel == "native" else int(STATES_OF_OTHERS * size)


@cache
def _fastest_kernel(name: str, options: tuple[tuple[str, Any], ...], device: str) -> str:
    """Return the kernel that `auto` takes for a cell on this kind of device, whatever its size."""
    cell_type, keywords = get_cell(name), dict(options)
    size = cell_type.size_multiple(keywords.get("num_heads", 1))
    with torch.random.fork_rng(devices=[]):  # initial weights draw numbers
        cell = cell_type(size, size, **keywords)
    return supported_kernels(cell, device, build=False)[0]


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
