"""Blocks around each cell: none, or the same residual block for every cell."""

from torch import Tensor, nn
from torch.nn.functional import dropout, embedding, silu


class IdentityBlock(nn.Module):
    """A layer that is only its cell, with dropout on the output."""

    def __init__(self, dropout_rate: float) -> None:
        super().__init__()
        self.dropout_rate = dropout_rate

    def pre_cell(self, h: Tensor) -> Tensor:
        """Return what the cell reads of the layer's input."""
        return h

    def post_cell(self, h: Tensor, ids: Tensor | None, outputs: Tensor) -> Tensor:
        """Combine layer input and cell output.

        Args:
            h: Input (time, batch, size), or an embedding table (vocabulary, size) if ids are given.
            ids: Indices (time, batch) into the table, or None.
            outputs: Output of the cell (time, batch, output_size).

        Returns:
            Output of the layer (time, batch, output_size).
        """
        del h, ids
        return dropout(outputs, self.dropout_rate, self.training)


class ResidualBlock(IdentityBlock):
    """Residual block around a cell: x' = x + cell(norm(x)), then x' + MLP(norm(x')).

    MLP(x) = down(silu(gate) * value) with [gate|value] = up(x), the SwiGLU of Shazeer (2020). norm
    is the RMSNorm of Zhang & Sennrich (2019). The MLP is 4/3 as wide as the cell: its three
    matrices then have 4 H*H weights, as a plain MLP of twice the width has. That is half of an
    LSTM's, since the block must not dominate what is compared. Dropout acts on both branches.
    """

    def __init__(self, size: int, dropout_rate: float) -> None:
        super().__init__(dropout_rate)
        inner_size = (4 * size + 2) // 3
        self.before_cell = nn.RMSNorm(size, eps=1e-6)
        self.before_mlp = nn.RMSNorm(size, eps=1e-6)
        self.up = nn.Linear(size, 2 * inner_size, bias=False)
        self.down = nn.Linear(inner_size, size, bias=False)

    def pre_cell(self, h: Tensor) -> Tensor:
        """Return the normalized input."""
        normed: Tensor = self.before_cell(h)
        return normed

    def post_cell(self, h: Tensor, ids: Tensor | None, outputs: Tensor) -> Tensor:
        """Add the cell's output to the input, then that of the MLP."""
        x = h if ids is None else embedding(ids, h)
        x = x + dropout(outputs, self.dropout_rate, self.training)
        gate, value = self.up(self.before_mlp(x)).chunk(2, dim=-1)
        return x + dropout(self.down(silu(gate) * value), self.dropout_rate, self.training)
