"""Base class of variants of the LSTM: the declarations that they share."""

from typing import ClassVar

from charlm.cells.base import Cell


class LSTMVariant(Cell):
    """LSTM with a step of its own: the declarations that LSTM variants share.

    Gates i, f and o, candidate g, and their biases in the order i, f, g, o. Units retain the
    fraction f of the cell state c.
    """

    states: ClassVar[tuple[str, ...]] = ("h", "c")
    gate_descriptions = {
        "i": "input gate",
        "f": "forget gate: 1 retains, 0 forgets",
        "o": "output gate",
    }
    candidate_name = "g"
    retention_expression = "f"
    bias_gates: ClassVar[tuple[str, ...]] = ("i", "f", "g", "o")
    forget_gate = "f"
    input_gate = "i"
