"""The only loop over time, and the shelf of kernels: other unrolls that equal it, only faster."""

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

from torch import Tensor

from charlm.cells.base import Cell, LinearCell, State
from charlm.errors import ConfigError

# (cell, x, state before, ids) -> outputs (time, batch, width), state after. x: (time, batch,
# inputs); or, where ids (time, batch) are given, a table (symbols, inputs) that they pick from.
Unroll = Callable[[Cell, Tensor, State, Tensor | None], tuple[Tensor, State]]


class Kernel(NamedTuple):
    cell_type: type[
        Cell
    ]  # which cells it can walk: this one, or all where it is Cell or LinearCell
    unroll: Unroll
    unsupported_reason: Callable[
        [Cell, str], str
    ]  # why it cannot walk this cell on this device, or ""


KERNELS: dict[str, list[Kernel]] = {}
MODULES = ("loop", "scan", "torch_native", "windowed_attention", "chunkwise", "compiled.kernel")
# The first that can is taken. The CPU's order was measured; CUDA's was not, for want of a GPU.
KERNEL_PRIORITY = {
    "cpu": ("compiled", "scan", "fused", "loop"),
    "cuda": ("fused", "scan", "loop"),
}


def always_supported(cell: Cell, device: str) -> str:  # noqa: ARG001
    return ""


def register_kernel(
    name: str, *kinds: type[Cell], unless: Callable[[Cell, str], str] = always_supported
) -> Callable[[Unroll], Unroll]:
    """Registers an unroll under a name for kinds of cell."""

    def put(unroll: Unroll) -> Unroll:
        KERNELS.setdefault(name, []).extend(Kernel(kind, unroll, unless) for kind in kinds)
        return unroll

    return put


# Of the kernels that have a faster one: (cell, state before) -> as Stepper.
SINGLE_STEP_KERNELS: dict[str, Callable[[Cell, State], Callable[[Tensor], Tensor]]] = {}


def load_kernels() -> None:
    """Import every kernel, each of which registers itself."""
    for module in MODULES:
        import_module(f"charlm.kernels.{module}")


def _find_kernel(name: str, cell: Cell) -> Kernel | None:
    """The kernel of that name that was written for this cell: the nearest kind's.

    One written for a particular cell's equations does not serve a subclass that changes them.
    """
    load_kernels()
    kind = type(cell)
    found = [k for k in KERNELS.get(name, []) if issubclass(kind, k.cell_type)]
    same = [k for k in found if _inherits_equations(kind, k.cell_type)]
    return max(same, key=lambda k: len(k.cell_type.__mro__), default=None)


def _inherits_equations(kind: type[Cell], parent: type[Cell]) -> bool:
    if parent is LinearCell:  # who changes the step says what a scan must shift for it
        assert issubclass(kind, LinearCell)
        return (
            kind.step is LinearCell.step
            or kind.apply_input_shift is not LinearCell.apply_input_shift
        )
    return parent is Cell or kind is parent


def unsupported_reason(name: str, cell: Cell, device: str) -> str:
    """Why this kernel cannot walk this cell on this device; "" if it can."""
    serving = _find_kernel(name, cell)
    if serving is None:
        return f"{type(cell).__name__} has no {name} kernel"
    return serving.unsupported_reason(cell, device.partition(":")[0])


def supported_kernels(cell: Cell, device: str) -> list[str]:
    """The names of the kernels that can walk this cell on this device, fastest first."""
    fastest = KERNEL_PRIORITY[device.partition(":")[0]]
    load_kernels()
    rest = (name for name in KERNELS if name not in fastest)
    return [name for name in (*fastest, *rest) if not unsupported_reason(name, cell, device)]


def get_kernel(name: str, cell: Cell, device: str) -> Unroll:
    """The kernel of that name for this cell, or an error: never silently another one."""
    load_kernels()
    if name not in KERNELS:
        raise ConfigError(f"no kernel is called {name!r}; there are {', '.join(KERNELS)}")
    if why := unsupported_reason(name, cell, device):
        there = ", ".join(supported_kernels(cell, device))
        raise ConfigError(f"--kernel {name}: {why}; this cell has {there}")
    serving = _find_kernel(name, cell)
    assert serving is not None
    return serving.unroll
