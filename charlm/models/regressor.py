"""Recurrent regressor: reads vectors of numbers and predicts a number."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, mse_loss

from charlm.config import Config
from charlm.errors import ConfigError
from charlm.models.recurrent import NO_TARGET, ModelState, RecurrentModel, Reduction


class RecurrentRegressor(RecurrentModel):
    """Linear map of `input_size` numbers, recurrent layers, linear map to one number."""

    def __init__(
        self, config: Config, input_size: int, kernel: str = "loop", device: str = "cpu"
    ) -> None:
        if config.tie_weights:
            raise ConfigError(
                "cannot use --tie-weights: the task reads numbers, there is no embedding. "
                "Leave it out"
            )
        embed = nn.Linear(input_size, config.embedding_dim)  # draws before the cells do
        super().__init__(config, kernel, device)
        self.embed = embed
        self.bias = nn.Parameter(torch.zeros(1))
        bound = config.hidden_size**-0.5
        self.weight = nn.Parameter(torch.empty(1, config.hidden_size).uniform_(-bound, bound))

    def forward(self, x: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """Predict a number at each time step.

        Args:
            x: Inputs (time, batch, input_size).
            state: The state before them.

        Returns:
            Predictions (time, batch) and the state after them.
        """
        h, last = self.unroll(self.embed(x), None, state)
        return linear(h[..., : self.hidden_size], self.weight, self.bias)[..., 0], last

    def loss_fn(self, predictions: Tensor, y: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the mean squared error, or the sum of squared errors."""
        targets = y != NO_TARGET
        return mse_loss(predictions[targets], y[targets], reduction=reduction)
