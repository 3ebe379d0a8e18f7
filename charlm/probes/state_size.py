"""Size and saturation of a state while streams read on."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor

from charlm.execution.device import to_float64
from charlm.models.activation_capture import capture_activations
from charlm.models.char_lm import CharLM
from charlm.probes.true_context import States
from charlm.results.probes import Curve, ScalarResult

SATURATED_STATE = 0.9  # size of an output beyond which a unit counts as saturated,
SATURATED_GATE = 0.1  # and distance from 0 or 1 of a gate within which it does


class Snapshot(NamedTuple):
    """The state of all streams after so many characters."""

    position: int
    size: dict[str, float]  # root mean square by part of the state
    saturation: dict[str, float]  # share of units by output or gate


def state_sizes(model: CharLM | None, state: States) -> dict[str, float]:
    """Return the root mean square of each part of the state, over streams and units.

    Parts that are the same in all streams, such as clocks, are left out.

    Args:
        model: The model, which names the parts; None: a fake.
        state: Its state of at least two streams.
    """
    sizes = {}
    layers = state if model is None else state[: len(model.cells)]  # without the last output
    for layer, parts in enumerate(layers):
        for number, part in enumerate(parts):
            name = _part_name(model, layer, number)
            if (part != part[:1]).any():
                square = to_float64(part).square().mean()
                sizes[f"layer {layer + 1}, {name}"] = float(square.sqrt())
    return sizes


def _part_name(model: CharLM | None, layer: int, number: int) -> str:
    """Return the name of a part of a layer's state; those after the cell's are held inputs."""
    if model is None:
        return f"part {number + 1}"
    own = model.cells[layer].states
    return own[number] if number < len(own) else f"x {number - len(own) + 1} back"


def saturated_shares(model: CharLM, ids: Tensor, state: States) -> dict[str, float]:
    """Return the share of saturated units by output or gate, while the model reads ids (1, batch).

    An output is saturated beyond SATURATED_STATE, a gate within SATURATED_GATE of 0 or 1.
    """
    with capture_activations(model) as activations:
        model(ids, state)
    shares = {}
    for layer, (cell, seen) in enumerate(zip(model.cells, activations, strict=True), start=1):
        name, output = next(iter(seen.states.items()))
        is_saturated = {name: output.abs() > SATURATED_STATE}
        for gate in cell.gate_descriptions:
            is_saturated[gate] = (seen.gates[gate] - 0.5).abs() > 0.5 - SATURATED_GATE
        for part, is_beyond in is_saturated.items():
            shares[f"layer {layer}, {part}"] = float(is_beyond.double().mean())
    return shares


def growth(snapshots: Sequence[Snapshot], window: int) -> list[ScalarResult]:
    """Return how much each part of the state is larger at the end than after one window."""
    (first,) = [snapshot for snapshot in snapshots if snapshot.position == window]
    return [
        ScalarResult(
            name=f"size at the end / after a window, {name}",
            value=size / first.size[name],
            unit="times",
        )
        for name, size in snapshots[-1].size.items()
        if first.size.get(name)
    ]


def snapshot_curves(
    snapshots: Sequence[Snapshot], kind: Literal["size", "saturation"]
) -> list[Curve]:
    """Return a curve by position for each part that the last snapshot has."""
    values = [snapshot.size if kind == "size" else snapshot.saturation for snapshot in snapshots]
    return [
        Curve(
            name=name,
            x=[snapshot.position for snapshot in snapshots],
            y=[each.get(name) for each in values],
        )
        for name in values[-1]
    ]
