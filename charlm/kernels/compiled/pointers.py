"""Boundary of compiled code: C gets the address of a tensor only after a check of what it is.

C reads and writes as many numbers as it was generated for. Every address passes through this
module, whoever calls.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from charlm.errors import DataError

Shape = tuple[int, ...]


class KernelInputError(DataError, ValueError):
    """A tensor that compiled code was not generated for, such as a state of another width."""

    def __init__(self, name: str, found: str, expected: str) -> None:
        super().__init__(
            f"cannot run the compiled kernel: {name} is {found}, and must be {expected}. "
            "Try weights and a state of the same model"
        )


def check_count(tensors: Sequence[Tensor], count: int, name: str) -> None:
    """Check that there are so many tensors.

    Raises:
        KernelInputError: There are more or fewer.
    """
    if len(tensors) != count:
        raise KernelInputError(name, f"{len(tensors)} tensors", f"{count}")


def check_tensor(
    tensor: Tensor, dtype: torch.dtype, shape: Shape, name: str, *, any_strides: bool = False
) -> None:
    """Check dtype, shape, device and contiguity of a tensor.

    Args:
        tensor: The tensor.
        dtype: The dtype that it must have.
        shape: The shape that it must have.
        name: Its name in the message.
        any_strides: Whether it may lie in memory in any way, since C is not given its address.

    Raises:
        KernelInputError: It is another one.
    """
    if not (
        tensor.dtype is dtype
        and tensor.shape == shape
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and (any_strides or tensor.is_contiguous())
    ):
        strides = "" if any_strides else f" with the strides {_strides(tensor)}"
        found = f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}{strides}"
        kind = "" if any_strides else ", contiguous"
        raise KernelInputError(name, found, f"{dtype} {shape} on cpu{kind}")


def _strides(tensor: Tensor) -> Shape | None:
    return tensor.stride() if tensor.layout is torch.strided else None


def check_token_ids(ids: Tensor, count: int) -> Tensor:
    """Return ids as C reads them, after a check that a table of so many rows has them.

    Raises:
        IndexError: An id is not in the table.
    """
    ids = ids.long().contiguous()
    if not 0 <= int(ids.min()) <= int(ids.max()) < count:  # C would read beyond the table
        raise IndexError(f"an id is not in the table of {count} tokens")
    return ids


def data_pointer(tensor: Tensor, dtype: torch.dtype, shape: Shape, name: str) -> ctypes.c_void_p:
    """Return the address of a tensor's data for C, after `check_tensor`."""
    check_tensor(tensor, dtype, shape, name)
    return ctypes.c_void_p(tensor.data_ptr())


def rows_pointer(tensor: Tensor, dtype: torch.dtype, shape: Shape, name: str) -> ctypes.c_void_p:
    """Return the address of a matrix for C, which is given the distance of its rows, too."""
    check_tensor(tensor, dtype, shape, name, any_strides=True)
    if len(shape) != 2 or (shape[1] > 1 and tensor.stride(1) != 1):
        raise KernelInputError(name, f"of strides {tensor.stride()}", "a matrix of contiguous rows")
    return ctypes.c_void_p(tensor.data_ptr())


def pointer_array(
    tensors: Sequence[Tensor], dtype: torch.dtype, shapes: Sequence[Shape], name: str
) -> Any:
    """Return a C array of the tensors' addresses, after `check_tensor` of each."""
    check_count(tensors, len(shapes), name)
    for tensor, shape in zip(tensors, shapes, strict=True):
        check_tensor(tensor, dtype, shape, name)
    return (ctypes.c_void_p * max(1, len(tensors)))(*(tensor.data_ptr() for tensor in tensors))


NULL = ctypes.c_void_p(0)
