"""How a cell's weights begin where the person says it, not the cell's paper."""

import torch
from torch import nn

from charlm.cells.base import Cell
from charlm.config import Config, parse_forget_bias
from charlm.errors import ConfigError


def initialize_cell(cell: Cell, config: Config) -> None:
    """The gates' biases and the recurrent matrices of a new cell; by default it keeps its own."""
    forget_bias = parse_forget_bias(config.forget_bias, config.seq_len)
    if forget_bias.bias is not None:
        cell.init_retention_bias(torch.full((cell.hidden_size,), forget_bias.bias))
    elif forget_bias.chrono_length is not None:
        # Tallec & Ollivier (2018): a unit whose gate keeps by log(u - 1) forgets in about u
        # characters; here u - 1 is drawn, from 1 to one less than the longest.
        bias = torch.empty(cell.hidden_size).uniform_(1, forget_bias.chrono_length - 1).log()
        cell.init_retention_bias(bias, -bias)
    matrices = list(cell.recurrent_matrices())
    for asked, name in (
        (config.recurrent_init == "orthogonal", "--recurrent-init"),
        (config.weight_dropout > 0, "--weight-dropout"),
    ):
        if asked and not matrices:
            raise ConfigError(
                f"{type(cell).__name__} has no matrix from state to state: leave {name} out"
            )
    if config.recurrent_init == "orthogonal":
        for matrix in matrices:
            nn.init.orthogonal_(matrix)
