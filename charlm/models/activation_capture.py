"""Looks into cells while they read: their gates are taken out of the running step itself.

So no equation is written twice, and what is seen is what was computed.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from charlm.cells.base import Cell, State
from charlm.errors import ConfigError
from charlm.kernels.loop import project_tokens
from charlm.models.recurrent import RecurrentModel

METHODS = ("step", "coefficients", "read")  # where a cell's equations are


class LayerActivations(NamedTuple):
    """What a layer did, by the names of its cell's equations; each (time, batch, hidden)."""

    states: dict[str, Tensor]  # after each character; the output first, what is kept last
    gates: dict[str, Tensor]  # its gates, and what is new
    retention: Tensor | None  # the share that each unit kept of what it held


class RecordingUnroll:
    """An unroll that is the loop; `seen` gets what each cell did that it walked."""

    def __init__(self) -> None:
        self.seen: list[LayerActivations] = []

    def __call__(
        self, cell: Cell, x: Tensor, state: State, ids: Tensor | None = None
    ) -> tuple[Tensor, State]:
        outputs, held, named, kept = [], [], [], []
        for Wx in project_tokens(cell, x, ids):
            with capture_step_locals(cell) as letters:
                state = cell.step(Wx, state)
            outputs.append(state[0])
            held.append(cell.unit_states(state))
            named.append(
                {
                    name: letters[name]
                    for name in (*cell.gate_descriptions, cell.candidate_name)
                    if name
                }
            )
            kept.append(
                {cell.retention_expression: cell.retention(letters)}
                if cell.retention_expression
                else {}
            )
        parts = [
            stack_activations(rows, cell.hidden_size, state[0]) for rows in (held, named, kept)
        ]
        self.seen.append(
            LayerActivations(parts[0], parts[1], parts[2].get(cell.retention_expression))
        )
        return torch.stack(outputs), state


@contextmanager
def capture_activations(model: RecurrentModel) -> Iterator[list[LayerActivations]]:
    """Until the block ends, each call of the model appends what its layers did, the first first."""
    before, observer = model.unrolls, RecordingUnroll()
    model.unrolls = [observer for _ in before]
    try:
        yield observer.seen
    finally:
        model.unrolls = before


class StepLocals(dict[str, Tensor]):
    """What a step has in its letters when it ends."""

    def __missing__(self, letter: str) -> Tensor:
        raise ConfigError(f"the cell's `gates` name {letter}, and its step computes no {letter}")


@contextmanager
def capture_step_locals(cell: Cell) -> Iterator[StepLocals]:
    """Those of the step in the block: of each of the cell's methods as it ends, `step` the last."""
    letters = StepLocals()

    def look(frame: FrameType, event: str, _: Any) -> None:
        if event == "return" and frame.f_code.co_name in METHODS:
            here = frame.f_locals
            if here.get("self") is cell:
                letters.update((n, value) for n, value in here.items() if isinstance(value, Tensor))

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield letters
    finally:
        sys.setprofile(before)


def stack_activations(
    rows: list[dict[str, Tensor]], hidden: int, like: Tensor
) -> dict[str, Tensor]:
    """Of each character, by name -> (time, batch, hidden) by name.

    A head's number is that of each of its units; what has no batch is the same in each stream.
    """

    def of_units(name: str, value: Tensor) -> Tensor:
        value = value.expand(len(like), -1) if value.dim() == 1 else value.flatten(1)
        width = value.shape[1]
        if not width or hidden % width:
            raise ConfigError(
                f"{name} has {width} numbers, and there are {hidden} units: one for each, or one "
                "for as many of them each"
            )
        return value.to(like.dtype).repeat_interleave(hidden // width, dim=1)

    return {name: torch.stack([of_units(name, row[name]) for row in rows]) for name in rows[0]}
