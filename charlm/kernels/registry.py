"""Registry of kernels: functions that unroll a cell over time, by name and kind of cell."""

import logging
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import NamedTuple

from torch import Tensor

from charlm.cells.base import Cell, State
from charlm.cells.linear_cell import LinearCell
from charlm.errors import ConfigError
from charlm.registry import unknown_name_error

# (cell, x, state, ids) -> outputs (time, batch, output_size), state after the last step.
# x: (time, batch, input_size). If ids (time, batch) are given, x is an embedding table
# (vocabulary, input_size) that they index.
Unroll = Callable[[Cell, Tensor, State, Tensor | None], tuple[Tensor, State]]
UnsupportedReason = Callable[[Cell, str], str]  # (cell, device) -> reason, or "" if supported
# cell -> why the kernel cannot be built for it on this machine, or ""; None: for any cell at all.
Build = Callable[[Cell | None], str]

logger = logging.getLogger("charlm")


class Kernel(NamedTuple):
    """An unroll for one type of cell; for Cell and LinearCell: for all their subclasses."""

    cell_type: type[Cell]
    unroll: Unroll
    unsupported_reason: UnsupportedReason
    priority: Mapping[str, int]
    build: Build


KERNELS: dict[str, list[Kernel]] = {}


def always_supported(cell: Cell, device: str) -> str:  # noqa: ARG001
    """Return "": nothing speaks against the kernel."""
    return ""


def nothing_to_build(cell: Cell | None) -> str:  # noqa: ARG001
    """Return "": the kernel is written in Python."""
    return ""


def register_kernel(
    name: str,
    *cell_types: type[Cell],
    priority: Mapping[str, int] | None = None,
    unless: UnsupportedReason = always_supported,
    build: Build = nothing_to_build,
) -> Callable[[Unroll], Unroll]:
    """Return a decorator that registers an unroll.

    Args:
        name: Name of the kernel; it may have an unroll for each of several types of cells.
        cell_types: The cells whose equations it computes.
        priority: Device kind -> priority. `auto` takes the supported kernel with the highest; one
            without a priority comes last.
        unless: Returns why a cell of these types is not supported after all.
        build: Builds the kernel for a supported cell, and returns why this machine cannot.
    """

    def register(unroll: Unroll) -> Unroll:
        kernels = [Kernel(kind, unroll, unless, priority or {}, build) for kind in cell_types]
        KERNELS.setdefault(name, []).extend(kernels)
        return unroll

    return register


@cache
def load_kernels() -> None:
    """Import every module of this package, so that each kernel registers itself."""
    package = import_module("charlm.kernels")
    for module in pkgutil.walk_packages(package.__path__, "charlm.kernels."):
        import_module(module.name)


def find_kernel(name: str, cell: Cell) -> Kernel | None:
    """Return the kernel of this name that was written for this cell: that of the nearest class.

    One written for a particular cell does not serve a subclass, which may change the equations.
    """
    load_kernels()
    cell_type = type(cell)
    candidates = [
        kernel
        for kernel in KERNELS.get(name, [])
        if issubclass(cell_type, kernel.cell_type)
        and _inherits_equations(cell_type, kernel.cell_type)
    ]
    return max(candidates, key=lambda kernel: len(kernel.cell_type.__mro__), default=None)


def _inherits_equations(cell_type: type[Cell], parent: type[Cell]) -> bool:
    if parent is LinearCell:  # a changed step is served if the class writes its input shift too
        assert issubclass(cell_type, LinearCell)
        has_same_step = cell_type.step is LinearCell.step
        return has_same_step or cell_type.apply_input_shift is not LinearCell.apply_input_shift
    return parent is Cell or cell_type is parent


def device_kind(device: str) -> str:
    """Return "cpu", "cuda" or "mps" of a device such as "cuda:1"."""
    return device.partition(":")[0]


def unsupported_reason(name: str, cell: Cell, device: str) -> str:
    """Return why this kernel cannot unroll this cell on this device; "" if it can, and is built."""
    kernel = find_kernel(name, cell)
    if kernel is None:
        return f"{type(cell).__name__} has no {name} kernel"
    return kernel.unsupported_reason(cell, device_kind(device)) or kernel.build(cell)


def kernels_by_priority(cell: Cell, device: str) -> list[str]:
    """Return the names of the kernels written for this cell, highest priority first."""
    load_kernels()
    kind = device_kind(device)
    kernels = {name: kernel for name in KERNELS if (kernel := find_kernel(name, cell))}
    return sorted(kernels, key=lambda name: (-kernels[name].priority.get(kind, -1), name))


def supported_kernels(cell: Cell, device: str, *, build: bool = True) -> list[str]:
    """Return the names of the kernels that can unroll this cell on this device, fastest first.

    One that is left out since this machine cannot build it is logged as a warning.

    Args:
        cell: The cell.
        device: "cpu", "cuda", "cuda:N" or "mps".
        build: Whether to build them for this cell; else only whether any can be built is found out.
    """
    supported = []
    for name in kernels_by_priority(cell, device):
        kernel = find_kernel(name, cell)
        assert kernel is not None
        if kernel.unsupported_reason(cell, device_kind(device)):
            continue
        if problem := kernel.build(cell if build else None):
            _warn_once(f"note: kernel {name} is not used: {problem}")
        else:
            supported.append(name)
    return supported


@cache
def _warn_once(warning: str) -> None:
    logger.warning(warning)


def get_kernel(name: str, cell: Cell, device: str) -> Unroll:
    """Return the kernel of this name for this cell; never silently another one.

    Raises:
        ConfigError: There is no such kernel, or it does not support the cell on this device.
    """
    load_kernels()
    if name not in KERNELS:
        raise unknown_name_error("kernel", name, sorted(KERNELS))
    if reason := unsupported_reason(name, cell, device):
        others = kernels_by_priority(cell, device)
        supported = [other for other in others if not unsupported_reason(other, cell, device)]
        raise ConfigError(f"cannot use --kernel {name}: {reason}. Try {' or '.join(supported)}")
    kernel = find_kernel(name, cell)
    assert kernel is not None
    return kernel.unroll
