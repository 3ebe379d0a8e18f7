"""A model that reads numbers and predicts a number, around the same stack of cells."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, mse_loss

from charlm.config import Config
from charlm.errors import ConfigError
from charlm.models.recurrent import ModelState, RecurrentModel


class RecurrentRegressor(RecurrentModel):
    """Reads `symbols` numbers at a time: a linear map, recur, a linear map to one number."""

    def __init__(
        self, config: Config, symbols: int, kernel: str = "loop", device: str = "cpu"
    ) -> None:
        if config.tie_weights:
            raise ConfigError(
                "--tie-weights: numbers are read, and there is no table to tie. Leave it out"
            )
        embed = nn.Linear(symbols, config.embedding_dim)
        super().__init__(config, kernel, device)
        self.embed = embed
        self.bias = nn.Parameter(torch.zeros(1))
        bound = config.hidden_size**-0.5
        self.weight = nn.Parameter(torch.empty(1, config.hidden_size).uniform_(-bound, bound))

    def forward(self, x: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """x (time, batch, symbols), state before -> predictions (time, batch), state after."""
        h, after = self.unroll(self.embed(x), None, state)
        return linear(h[..., : self.hidden], self.weight, self.bias)[..., 0], after

    def loss_fn(self, predictions: Tensor, y: Tensor) -> Tensor:
        """The mean squared error."""
        targets = y != -100
        return mse_loss(predictions[targets], y[targets])
