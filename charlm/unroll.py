"""The only loop over time, and the shelf of kernels: other unrolls that equal it, only faster."""

from collections.abc import Callable

import torch
from torch import Tensor

from charlm.cell import Cell, State
from charlm.errors import BadConfig

Unroll = Callable[[Cell, Tensor, State], tuple[Tensor, State]]
KERNELS: dict[tuple[str, type[Cell]], Unroll] = {}


def kernel(name: str, *kinds: type[Cell]) -> Callable[[Unroll], Unroll]:
    """Registers an unroll under a name for kinds of cell, their subclasses included."""

    def put(unroll: Unroll) -> Unroll:
        for kind in kinds:
            KERNELS[name, kind] = unroll
        return unroll

    return put


@kernel("loop", Cell)
def loop(cell: Cell, x: Tensor, state: State) -> tuple[Tensor, State]:
    """(time, batch, inputs) -> (time, batch, hidden), state after: what every kernel equals."""
    outputs = []
    for Wx in cell.project(x):
        state = cell.step(Wx, state)
        outputs.append(state[0])
    return torch.stack(outputs), state


def kernels(kind: type[Cell]) -> list[str]:
    """The names of the kernels that this kind of cell has, the most general one last."""
    named = [name for parent in kind.__mro__ for name, of in KERNELS if of is parent]
    return list(dict.fromkeys(named))


def choose(name: str, kind: type[Cell]) -> Unroll:
    """The kernel of that name for this kind of cell, or an error: never silently another one."""
    for parent in kind.__mro__:
        if (name, parent) in KERNELS:
            return KERNELS[name, parent]
    raise BadConfig(
        f"{kind.__name__} has no kernel called {name!r}; it has {', '.join(kernels(kind))}"
    )
