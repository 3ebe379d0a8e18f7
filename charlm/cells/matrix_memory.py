"""Operations on the matrix memory of each head, which holds a value for each key."""

from torch import Tensor, einsum
from torch.overrides import handle_torch_function, has_torch_function


def decay(S: Tensor, a: Tensor) -> Tensor:
    """Return a S: the memory with what is retained of it.

    Args:
        S: Memory (batch, heads, keys, values).
        a: Fraction retained, of each head (batch, heads) or of each key (batch, heads, keys).
    """
    if has_torch_function((S, a)):
        decayed: Tensor = handle_torch_function(decay, (S, a), S, a)
        return decayed
    return S * a.reshape(*a.shape, *[1] * (S.dim() - a.dim()))


def write(S: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return S + k v^T: the memory to which a value is added at a key.

    Args:
        S: Memory (batch, heads, keys, values).
        k: Key (batch, heads, keys).
        v: Value (batch, heads, values).
    """
    if has_torch_function((S, k, v)):
        written: Tensor = handle_torch_function(write, (S, k, v), S, k, v)
        return written
    return S + k[..., None] * v[..., None, :]


def read(S: Tensor, q: Tensor) -> Tensor:
    """Return S^T q (batch, heads, values): what the memory holds at a query.

    Args:
        S: Memory (batch, heads, keys, values).
        q: Query (batch, heads, keys).
    """
    if has_torch_function((S, q)):
        value: Tensor = handle_torch_function(read, (S, q), S, q)
        return value
    return einsum("bhkv,bhk->bhv", S, q)
