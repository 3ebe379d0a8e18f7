"""How a cell's weights begin where the person says it, not the cell's paper."""

import torch
from torch import nn

from charlm.cell import Cell
from charlm.config import Config, chrono
from charlm.errors import BadConfig


def begin(cell: Cell, config: Config) -> None:
    """The gates' biases and the recurrent matrices of a new cell; by default it keeps its own."""
    if config.keep_bias != "1":
        longest = chrono(config.keep_bias, config.time)
        if longest is None:
            cell.keep(torch.full((cell.hidden,), float(config.keep_bias)))
        else:
            # Tallec & Ollivier (2018): a unit whose gate keeps by log(u - 1) forgets in about u
            # characters; here u - 1 is drawn, from 1 to one less than the longest.
            bias = torch.empty(cell.hidden).uniform_(1, longest - 1).log()
            cell.keep(bias, -bias)
    matrices = list(cell.recurrent())
    for asked, name in (
        (config.recurrent_init == "orthogonal", "--recurrent-init"),
        (config.weight_dropout > 0, "--weight-dropout"),
    ):
        if asked and not matrices:
            raise BadConfig(
                f"{type(cell).__name__} has no matrix from state to state: leave {name} out"
            )
    if config.recurrent_init == "orthogonal":
        for matrix in matrices:
            nn.init.orthogonal_(matrix)
