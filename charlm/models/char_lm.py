"""TODO docstring."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from charlm.config import Config
from charlm.kernels.loop import embed_if_shorter
from charlm.models.recurrent import ModelState, RecurrentModel


class CharLM(RecurrentModel):
    """A character language model of `symbols` ids: embed, recur, predict."""

    def __init__(
        self, config: Config, symbols: int, kernel: str = "loop", device: str = "cpu"
    ) -> None:
        embed = nn.Embedding(
            symbols, config.embedding_dim
        )  # random numbers: before those of the cells
        super().__init__(config, kernel, device)
        self.embed = embed
        self.bias = nn.Parameter(torch.zeros(symbols))
        self.weight = (  # of the prediction
            None if config.tie_weights else nn.Parameter(torch.empty(symbols, config.hidden_size))
        )
        nn.init.normal_(self.embed.weight, std=config.embedding_dim**-0.5)
        if self.weight is not None:
            bound = config.hidden_size**-0.5
            nn.init.uniform_(self.weight, -bound, bound)

    def predict(self, h: Tensor) -> Tensor:
        """Outputs of the last layer (..., width) -> logits of what follows (..., symbols)."""
        weight = self.embed.weight if self.weight is None else self.weight
        # A slice that takes all would still cost a copy on the way back.
        return linear(h if h.shape[-1] == self.hidden else h[..., : self.hidden], weight, self.bias)

    def next_token_logits(self, state: ModelState) -> Tensor:
        """Logits of the character that follows this state (batch, symbols): the first one, too."""
        return self.predict(state[-1][0])

    def forward(self, ids: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """ids (time, batch), state before -> logits (time, batch, symbols), state after."""
        # The first layer may project the table of characters instead of a longer text.
        h, after = self.unroll(*embed_if_shorter(self.embed.weight, ids), state)
        return self.predict(h), after

    def advance(self, ids: Tensor, state: ModelState) -> ModelState:
        """The state after ids (time, batch), without predicting what follows each."""
        _, after = self.unroll(*embed_if_shorter(self.embed.weight, ids), state)
        return after

    def loss_fn(self, predictions: Tensor, y: Tensor) -> Tensor:
        """Nats per character that follows."""
        return cross_entropy(predictions.flatten(0, 1), y.flatten())
