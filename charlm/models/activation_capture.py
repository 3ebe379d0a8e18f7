"""Recording of gates and states of a model while it reads.

A cell's `step` passes its gates by name to `Cell.record`, which does nothing by default. Here the
cell gets a dictionary for them (`Cell.recorded`), and the plain loop unrolls it: what is seen is
what was computed, and no equation is written twice. See the docstring of `Cell`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from charlm.cells.base import Cell, State
from charlm.errors import ConfigError
from charlm.kernels.loop import project_tokens
from charlm.models.recurrent import RecurrentModel


class LayerActivations(NamedTuple):
    """Activations of a layer, by the names of its cell's equations.

    Each tensor is (time, batch, hidden_size).
    """

    states: dict[str, Tensor]  # after each token; the output first, the memory last
    gates: dict[str, Tensor]  # gates and the candidate
    retention: Tensor | None  # the fraction of its state that each unit retained


class RecordingUnroll:
    """The plain loop as an unroll that appends the activations of each cell to `seen`."""

    def __init__(self) -> None:
        self.seen: list[LayerActivations] = []

    def __call__(
        self, cell: Cell, x: Tensor, state: State, ids: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Unroll a cell as `unroll_loop` does.

        Raises:
            ConfigError: The step did not record a gate that the cell names, or not once per unit.
        """
        gate_names = [name for name in (*cell.gate_descriptions, cell.candidate_name) if name]
        outputs, states, gates, retentions = [], [], [], []
        cell = cell.prepared()
        for Wx in project_tokens(cell, x, ids):
            with record_step(cell) as recorded:
                state = cell.step(Wx, state)
            outputs.append(state[0])
            states.append(cell.unit_states(state))
            gates.append({name: recorded[name] for name in gate_names})
            if cell.retention_expression:
                retentions.append({cell.retention_expression: cell.retention(recorded)})
        size, like = cell.hidden_size, state[0]
        retention = stack_activations(retentions, size, like) if retentions else {}
        self.seen.append(
            LayerActivations(
                stack_activations(states, size, like),
                stack_activations(gates, size, like),
                retention.get(cell.retention_expression),
            )
        )
        return torch.stack(outputs), state


@contextmanager
def capture_activations(model: RecurrentModel) -> Iterator[list[LayerActivations]]:
    """Record the layers of a model: each call of it appends theirs, the first layer first."""
    unrolls, recording = model.unrolls, RecordingUnroll()
    model.unrolls = [recording for _ in unrolls]
    try:
        yield recording.seen
    finally:
        model.unrolls = unrolls


def join_pieces(seen: Sequence[LayerActivations], num_layers: int) -> list[LayerActivations]:
    """Return the activations of each layer over several calls of a model, one after another.

    Args:
        seen: Activations by call, then by layer.
        num_layers: Layers of the model.
    """
    if len(seen) == num_layers:
        return list(seen)
    return [
        LayerActivations(
            {name: torch.cat([each.states[name] for each in pieces]) for name in pieces[0].states},
            {name: torch.cat([each.gates[name] for each in pieces]) for name in pieces[0].gates},
            _join([each.retention for each in pieces]),
        )
        for pieces in (seen[layer::num_layers] for layer in range(num_layers))
    ]


def _join(parts: Sequence[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known) if known else None


class RecordedValues(dict[str, Tensor]):
    """Recorded values of a step, by name."""

    def __missing__(self, name: str) -> Tensor:
        raise ConfigError(
            f"cannot observe the cell: its step did not record {name}. "
            f"Try self.record({name}={name}) in step"
        )


@contextmanager
def record_step(cell: Cell) -> Iterator[RecordedValues]:
    """Collect what the cell records in this block."""
    values = RecordedValues()
    cell.recorded = values
    try:
        yield values
    finally:
        del cell.recorded  # the class attribute None is visible again


def stack_activations(
    rows: list[dict[str, Tensor]], hidden_size: int, like: Tensor
) -> dict[str, Tensor]:
    """Stack values of each time step by name.

    Args:
        rows: For each time step, name -> value: (batch, units), (batch, heads, ...), or (units,)
            or a number if all streams share it. A head's value is repeated for each of its units.
        hidden_size: Number of units.
        like: A tensor (batch, ...) of the result's dtype.

    Returns:
        Name -> (time, batch, hidden_size).

    Raises:
        ConfigError: A value does not have one number per unit or head.
    """

    def per_unit(name: str, value: Tensor) -> Tensor:
        value = torch.as_tensor(value, dtype=like.dtype, device=like.device)
        if value.dim() < 2:
            value = value.expand(len(like), value.numel())
        value = value.flatten(1)
        width = value.shape[1]
        if not width or hidden_size % width:
            raise ConfigError(
                f"cannot observe {name}: it has {width} numbers, and the cell has {hidden_size} "
                "units. Try one number for each unit, or for each head"
            )
        return value.repeat_interleave(hidden_size // width, dim=1)

    return {name: torch.stack([per_unit(name, row[name]) for row in rows]) for name in rows[0]}
