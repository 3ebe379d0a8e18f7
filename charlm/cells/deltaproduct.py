"""Siems et al. (2025), "DeltaProduct": several delta rules in a step."""

from charlm.cells.base import register_cell
from charlm.cells.delta_cell import DeltaCell


@register_cell("deltaproduct")
class DeltaProduct(DeltaCell):
    """DeltaNet that writes twice in a step, each time with a key of its own.

    q = silu(W x) / |silu(W x)|             query of each head
    k_j = silu(W_j x) / |silu(W_j x)|       key of write j = 1, 2
    v_j = silu(V_j x)                       value of write j
    b_j = sigmoid(B_j x)                    strength of write j; doubled if signed
    S = S + b_j k_j (v_j - S^T k_j)^T       for j = 1, then for j = 2
    h' = RMSnorm(S'^T q)                    of each head

    The transition is a product of two generalized Householder matrices. With eigenvalues="signed"
    it may be a rotation, which counts modulo any number (Grazzi et al. 2025). The published layer
    has a convolution before q, k and v and a projection after h, which are left out; its decay and
    its output gate are options there, and left out too.

    Parameters: 5HX + 2NX + H/N for X inputs, H units and N heads. W starts as a linear layer does,
    and the weight of the norm at 1.
    """

    num_writes = 2
