"""What stands around each cell: nothing, or a residual block that is the same for every cell."""

from torch import Tensor, nn
from torch.nn.functional import dropout, embedding, silu


class IdentityBlock(nn.Module):
    """A layer is its cell; dropout acts on what it hands on."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def pre_cell(self, h: Tensor) -> Tensor:
        """What the layer is given -> what its cell reads."""
        return h

    def post_cell(self, h: Tensor, ids: Tensor | None, outputs: Tensor) -> Tensor:
        """What the layer was given, a text or a table that ids pick from, and what its cell made
        of it (time, batch, width) -> what it hands on."""
        del h, ids
        return dropout(outputs, self.share, self.training)


class ResidualBlock(IdentityBlock):
    """x' = x + cell(norm(x)), then x' + down(silu(gate) * value) with [gate|value] of norm(x').

    norm is the RMSNorm of Zhang & Sennrich (2019); the second step is the SwiGLU of Shazeer (2020).
    It is 4/3 as wide as the cell: its three matrices then have 4 H*H weights, as a plain perceptron
    of twice the width has. That is half of an LSTM's: the block must not drown what is compared.
    Dropout acts on each of the two before it is added.
    """

    def __init__(self, width: int, share: float) -> None:
        super().__init__(share)
        inner = (4 * width + 2) // 3
        self.before_cell = nn.RMSNorm(width, eps=1e-6)
        self.before_mlp = nn.RMSNorm(width, eps=1e-6)
        self.up = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def pre_cell(self, h: Tensor) -> Tensor:
        normed: Tensor = self.before_cell(h)
        return normed

    def post_cell(self, h: Tensor, ids: Tensor | None, outputs: Tensor) -> Tensor:
        x = h if ids is None else embedding(ids, h)
        x = x + dropout(outputs, self.share, self.training)
        gate, value = self.up(self.before_mlp(x)).chunk(2, dim=-1)
        return x + dropout(self.down(silu(gate) * value), self.share, self.training)
