"""What there is to know of a cell before it is trained."""

import re
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from charlm import kernels as kernels
from charlm.cell import Cell
from charlm.config import Config
from charlm.model import CharLM, unmade
from charlm.unroll import kernels as kernels_of
from charlm.zoo import find, paper


def entry(name: str, hidden: int, device: str) -> dict[str, Any]:
    """A cell of `hidden` units that reads as many.

    linear: its next state is linear in the one before, so that time can be scanned. kernels: those
    that can walk it on this kind of device, fastest first.
    """
    kind = find(name)
    with torch.device("meta"):
        cell = kind(hidden, hidden)
    there = kernels_of(kind(kind.multiple, kind.multiple), device)
    authors, year = re.match(r"(.+?) \((\d{4})\)", paper(kind)).groups()  # type: ignore[union-attr]
    return {
        "cell": name,
        "authors": authors,
        "year": int(year),
        "states": list(cell.states),
        "parameters": sum(parameter.numel() for parameter in cell.parameters()),
        "flops": flops(cell),
        "linear": "scan" in there,
        "kernels": there,
    }


def flops(cell: Cell) -> int:
    """Of the matrix products of one character, forward: two for each weight that is met."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        cell.step(cell.project(torch.empty(1, cell.inputs)), cell.start(1))
    return counter.get_total_flops()


def flops_per_character(config: Config, symbols: int) -> int:
    """Of the matrix products of a whole model for one character, forward."""
    with unmade(), FlopCounterMode(display=False) as counter:
        model = CharLM(config, symbols)
        model(torch.zeros(1, 1, dtype=torch.long), model.start(1))
    return counter.get_total_flops()
