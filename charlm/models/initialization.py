"""Initialization of a new cell: forget-gate bias and orthogonal recurrent matrices."""

import torch
from torch import nn

from charlm.cells.base import Cell
from charlm.cells.names import cell_label
from charlm.config import Config
from charlm.errors import ConfigError
from charlm.recipes import get_recipe
from charlm.settings.values import parse_forget_bias


def initialize_cell(cell: Cell, config: Config) -> None:
    """Set biases and recurrent matrices of a new cell as the config and its recipe say.

    Source: Tallec & Ollivier (2018) for chrono initialization. A unit with the forget bias
    log(u - 1) forgets in about u steps; u - 1 is drawn from 1 to `chrono_length` - 1.

    Raises:
        ConfigError: The cell has no forget bias to set, or no recurrent matrix to initialize or
            drop.
    """
    forget_bias = parse_forget_bias(config.forget_bias, config.seq_len)
    if forget_bias.bias is not None:
        cell.init_retention_bias(torch.full((cell.hidden_size,), forget_bias.bias))
    elif forget_bias.chrono_length is not None:
        bias = torch.empty(cell.hidden_size).uniform_(1, forget_bias.chrono_length - 1).log()
        cell.init_retention_bias(bias, -bias)
    matrices = list(cell.recurrent_matrices())
    for is_requested, option in (
        (config.recurrent_init == "orthogonal", "--recurrent-init"),
        (config.weight_dropout > 0, "--weight-dropout"),
    ):
        if is_requested and not matrices:
            raise ConfigError(
                f"cannot use {option}: {type(cell).__name__} has no hidden-to-hidden matrix. "
                "Leave it out"
            )
    recurrent_init: str = config.recurrent_init
    if recurrent_init == "recipe":
        recurrent_init = get_recipe(cell_label(config.cell)).recurrent_init
    if recurrent_init == "orthogonal":
        for matrix in matrices:  # each gate by itself: together they would not be orthogonal
            nn.init.orthogonal_(matrix)
