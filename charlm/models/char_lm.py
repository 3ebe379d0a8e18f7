"""Character language model: embedding, recurrent layers, prediction of the next token."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from charlm.config import Config
from charlm.kernels.loop import embed_if_shorter
from charlm.models.recurrent import NO_TARGET, ModelState, RecurrentModel, Reduction


class CharLM(RecurrentModel):
    """Character language model over `vocabulary_size` token ids.

    Attributes:
        separator: Ids of the tokens after which it was trained to start from the initial state.
    """

    separator: tuple[int, ...] = ()

    def __init__(
        self, config: Config, vocabulary_size: int, kernel: str = "loop", device: str = "cpu"
    ) -> None:
        embed = nn.Embedding(vocabulary_size, config.embedding_dim)  # draws before the cells do
        super().__init__(config, kernel, device)
        self.embed = embed
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.weight = None  # of the prediction; None: that of the embedding
        if not config.tie_weights:
            self.weight = nn.Parameter(torch.empty(vocabulary_size, config.hidden_size))
        nn.init.normal_(self.embed.weight, std=config.embedding_dim**-0.5)
        if self.weight is not None:
            bound = config.hidden_size**-0.5
            nn.init.uniform_(self.weight, -bound, bound)

    def predict(self, h: Tensor) -> Tensor:
        """Return logits (..., vocabulary) from outputs of the last layer (..., output_size)."""
        weight = self.embed.weight if self.weight is None else self.weight
        if self.cells[-1].output_size != self.hidden_size:  # a slice of all would be copied
            h = h[..., : self.hidden_size]
        return linear(h, weight, self.bias)

    def next_token_logits(self, state: ModelState) -> Tensor:
        """Return the logits (batch, vocabulary) of the token that follows this state."""
        return self.predict(state[-1][0])

    def forward(self, ids: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """Predict the token after each token.

        Args:
            ids: Token ids (time, batch), int64.
            state: The state before them.

        Returns:
            Logits (time, batch, vocabulary) and the state after them.
        """
        # The first layer may project the embedding table instead of a longer text.
        h, last = self.unroll(*embed_if_shorter(self.embed.weight, ids), state)
        return self.predict(h), last

    def advance(self, ids: Tensor, state: ModelState) -> ModelState:
        """Return the state after ids (time, batch), without predictions."""
        _, last = self.unroll(*embed_if_shorter(self.embed.weight, ids), state)
        return last

    def loss_fn(self, predictions: Tensor, y: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the cross-entropy in nats: the mean per token, or the sum."""
        return cross_entropy(
            predictions.flatten(0, 1), y.flatten(), ignore_index=NO_TARGET, reduction=reduction
        )
