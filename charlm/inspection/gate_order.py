"""Order of the gates of a cell, as they are shown."""

from charlm.cells.base import Cell


def ordered_gates(cell: Cell) -> list[str]:
    """Return gates and candidate in the order of Olah (2015): forget, input, candidate, output.

    A gate that reads the state has its part of the bias after that of the candidate.
    """
    biases, candidate = cell.bias_gates, cell.candidate_name
    before: list[str] = []
    after: list[str] = []
    for name in cell.gate_descriptions:
        is_read_out = candidate in biases and name in biases[biases.index(candidate) + 1 :]
        (after if is_read_out else before).append(name)
    retention = [
        name
        for name in cell.gate_descriptions
        if name in (cell.retention_expression, cell.forget_gate)
    ]
    order = [*retention, *before, *([candidate] if candidate else []), *after]
    return list(dict.fromkeys(order))
