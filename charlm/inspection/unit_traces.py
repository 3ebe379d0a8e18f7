"""Traces of units: state, gates, candidate and output at each token, and the cell's equations."""

from collections.abc import Sequence
from inspect import cleandoc
from typing import Literal

from torch import Tensor

from charlm.cells.base import Cell
from charlm.errors import ConfigError
from charlm.inspection.feature_units import round_values
from charlm.inspection.gate_order import ordered_gates
from charlm.models.activation_capture import LayerActivations
from charlm.models.char_lm import CharLM
from charlm.results.inspection import ActivationTrace, LayerEquations, UnitTrace

Unit = tuple[int, int]  # layer and unit, both from 1


def check_units(model: CharLM, units: Sequence[Unit]) -> None:
    """Check that the model has these units.

    Raises:
        ConfigError: It has not.
    """
    num_layers, hidden_size = len(model.cells), model.cells[0].hidden_size
    for layer, unit in units:
        if not (1 <= layer <= num_layers and 1 <= unit <= hidden_size):
            raise ConfigError(
                f"cannot show --units {layer}:{unit}: "
                f"the run has layers 1 to {num_layers}, each with units 1 to {hidden_size}"
            )


def most_variable_unit(activations: Sequence[LayerActivations]) -> Unit:
    """Return the unit whose output has the highest variance over the text."""
    outputs = [next(iter(layer.states.values())) for layer in activations]
    variances = [output.var((0, 1), correction=0) for output in outputs]
    layer = max(range(len(variances)), key=lambda index: float(variances[index].max()))
    return layer + 1, int(variances[layer].argmax()) + 1


def trace_unit(
    model: CharLM, activations: Sequence[LayerActivations], layer: int, unit: int
) -> UnitTrace:
    """Return the activations of a unit: its state, then gates and candidate, then its output.

    What retains the state comes first, then what writes to it, and then what reads it.

    Args:
        model: The model.
        activations: Of each layer on the text, batch size 1.
        layer: From 1.
        unit: From 1.
    """
    cell, captured = model.cells[layer - 1], activations[layer - 1]
    (output_name, output), *memories = captured.states.items()
    retention_name, candidate_name = cell.retention_expression, cell.candidate_name

    def trace(
        variable: str, description: str, kind: Literal["gate", "signed"], values: Tensor
    ) -> ActivationTrace:
        return ActivationTrace(
            variable=variable,
            description=description,
            kind=kind,
            values=round_values(values[:, 0, unit - 1]),
        )

    traces = [trace(name, "state", "signed", values) for name, values in memories]
    constant_retention = None
    if captured.retention is not None:
        if cell.retention_is_constant:
            constant_retention = float(captured.retention[0, 0, unit - 1])
        elif retention_name not in cell.gate_descriptions:
            traces.append(
                trace(retention_name, "share of the state kept", "gate", captured.retention)
            )
    for name in ordered_gates(cell):
        if name == candidate_name:
            traces.append(trace(name, "candidate", "signed", captured.gates[name]))
        else:
            traces.append(trace(name, cell.gate_descriptions[name], "gate", captured.gates[name]))
    output_description = "output" if memories else "state and output"
    traces.append(trace(output_name, output_description, "signed", output))
    return UnitTrace(layer=layer, unit=unit, retention=constant_retention, traces=traces)


def layer_equations(model: CharLM) -> list[LayerEquations]:
    """Return the equations of each kind of cell: its docstring up to its parameters."""
    layers_by_kind: dict[type[Cell], list[int]] = {}
    for layer, cell in enumerate(model.cells, start=1):
        layers_by_kind.setdefault(type(cell), []).append(layer)
    return [
        LayerEquations(
            layers=layers,
            docstring=cleandoc(kind.__doc__ or "").partition("\n\nParameters:")[0],
        )
        for kind, layers in layers_by_kind.items()
    ]
