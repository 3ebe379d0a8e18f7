"""What there is to know of a cell before it is trained."""

import re
from typing import Any

import torch
from torch import nn

from charlm import kernels as kernels
from charlm.config import Config
from charlm.model import CharLM, ModelFactory, RecurrentModel, meta_device
from charlm.unroll import supported_kernels as kernels_of
from charlm.zoo import get_cell, citation


def cell_summary(name: str, hidden: int, device: str) -> dict[str, Any]:
    """A cell of `hidden` units that reads as many.

    linear: its next state is linear in the one before, so that time can be scanned. kernels: those
    that can walk it on this kind of device, fastest first.
    """
    kind = get_cell(name)
    with torch.device("meta"):
        cell = kind(hidden, hidden)
    there = kernels_of(kind(kind.hidden_size_multiple, kind.hidden_size_multiple), device)
    authors, year = re.match(r"(.+?) \((\d{4})\)", citation(kind)).groups()  # type: ignore[union-attr]
    return {
        "cell": name,
        "authors": authors,
        "year": int(year),
        "states": list(cell.states),
        "parameters": sum(parameter.numel() for parameter in cell.parameters()),
        "flops": cell.flops,
        "linear": "scan" in there,
        "kernels": there,
    }


def flops_per_character(config: Config, symbols: int, kind: ModelFactory[RecurrentModel] = CharLM) -> int:
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
