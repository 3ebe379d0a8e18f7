"""What there is to know of a cell before it is trained."""

import re
from typing import Any

import torch

from charlm.cells.loader import citation, get_cell
from charlm.kernels.registry import supported_kernels as kernels_of


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
