"""Yang et al. (2024), "Parallelizing linear transformers": DeltaNet; Schlag et al. (2021)."""

from charlm.cells.base import register_cell
from charlm.cells.delta_cell import DeltaCell


@register_cell("deltanet")
class DeltaNet(DeltaCell):
    """Linear attention whose memory is corrected, not only added to.

    q, k = silu(W x) / |silu(W x)|          query and key of each head
    v = silu(W_v x)                         value of each head
    b = sigmoid(W_b x)                      strength of the write; doubled if signed
    S' = S + b k (v - S^T k)^T              memory: v replaces what S holds at k
    h' = RMSnorm(S'^T q)                    of each head

    This is the form of Yang et al. (2024) of the fast weights of Schlag et al. (2021), "Linear
    transformers are secretly fast weight programmers". With eigenvalues="signed" b is 2 sigmoid, so
    that S can change its sign along k, as in Grazzi et al. (2025), "Unlocking state-tracking in
    linear RNNs through negative eigenvalues". The published layer has a convolution before q, k
    and v and a projection after h, which are left out.

    Parameters: 3HX + NX + H/N for X inputs, H units and N heads. W starts as a linear layer does,
    and the weight of the norm at 1.
    """
