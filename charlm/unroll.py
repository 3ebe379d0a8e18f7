"""The only loop over time, and the shelf of kernels: other unrolls that equal it, only faster."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding

from charlm.cell import Cell, LinearCell, State
from charlm.errors import ConfigError

# (cell, x, state before, ids) -> outputs (time, batch, width), state after. x: (time, batch,
# inputs); or, where ids (time, batch) are given, a table (symbols, inputs) that they pick from.
Unroll = Callable[[Cell, Tensor, State, Tensor | None], tuple[Tensor, State]]


class Kernel(NamedTuple):
    cell_type: type[Cell]  # which cells it can walk: this one, or all where it is Cell or LinearCell
    unroll: Unroll
    unsupported_reason: Callable[[Cell, str], str]  # why it cannot walk this cell on this device, or ""


KERNELS: dict[str, list[Kernel]] = {}
# The first that can is taken. The CPU's order was measured; CUDA's was not, for want of a GPU.
KERNEL_PRIORITY = {
    "cpu": ("compiled", "scan", "fused", "loop", "bptt"),
    "cuda": ("fused", "scan", "loop", "bptt"),
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


def embed_if_shorter(x: Tensor, ids: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """A table and ids as they are where the text is longer than the table; else x of each time."""
    if ids is not None and ids.numel() < len(x):
        return embedding(ids, x), None
    return x, ids


def project_tokens(cell: Cell, x: Tensor, ids: Tensor | None) -> Tensor:
    """What x says at each time, (time, batch, any)."""
    x, ids = embed_if_shorter(x, ids)
    return cell.project_inputs(x) if ids is None else embedding(ids, cell.project_inputs(x))


@register_kernel("loop", Cell)
def unroll_loop(cell: Cell, x: Tensor, state: State, ids: Tensor | None = None) -> tuple[Tensor, State]:
    """(time, batch, inputs) -> (time, batch, width), state after: what every kernel equals."""
    outputs = []
    for Wx in project_tokens(cell, x, ids):
        state = cell.step(Wx, state)
        outputs.append(state[0])
    return torch.stack(outputs), state


class SingleStep:
    """A cell that reads one stream a character at a time, and carries its state itself.

    A kernel that walks whole texts has nothing to gain there: the steps are the cell's own.
    """

    def __init__(self, cell: Cell, state: State) -> None:
        self.cell, self.state = cell, state

    def __call__(self, Wx: Tensor) -> Tensor:
        """(1, any) -> the output (1, width), which the next call may overwrite."""
        self.state = self.cell.step(Wx, self.state)
        return self.state[0]


# Of the kernels that have a faster one: (cell, state before) -> as Stepper.
SINGLE_STEP_KERNELS: dict[str, Callable[[Cell, State], Callable[[Tensor], Tensor]]] = {}


def _find_kernel(name: str, cell: Cell) -> Kernel | None:
    """The kernel of that name that was written for this cell: the nearest kind's.

    One written for a particular cell's equations does not serve a subclass that changes them.
    """
    kind = type(cell)
    found = [k for k in KERNELS.get(name, []) if issubclass(kind, k.cell_type)]
    same = [k for k in found if _inherits_equations(kind, k.cell_type)]
    return max(same, key=lambda k: len(k.cell_type.__mro__), default=None)


def _inherits_equations(kind: type[Cell], parent: type[Cell]) -> bool:
    if parent is LinearCell:  # who changes the step says what a scan must shift for it
        assert issubclass(kind, LinearCell)
        return kind.step is LinearCell.step or kind.apply_input_shift is not LinearCell.apply_input_shift
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
    rest = (name for name in KERNELS if name not in fastest)
    return [name for name in (*fastest, *rest) if not unsupported_reason(name, cell, device)]


def get_kernel(name: str, cell: Cell, device: str) -> Unroll:
    """The kernel of that name for this cell, or an error: never silently another one."""
    if name not in KERNELS:
        raise ConfigError(f"no kernel is called {name!r}; there are {', '.join(KERNELS)}")
    if why := unsupported_reason(name, cell, device):
        there = ", ".join(supported_kernels(cell, device))
        raise ConfigError(f"--kernel {name}: {why}; this cell has {there}")
    serving = _find_kernel(name, cell)
    assert serving is not None
    return serving.unroll
