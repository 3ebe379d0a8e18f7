"""Exported model: its graph, its configuration, and what was written and verified."""

from typing import Literal

import msgspec

NumberKind = Literal["float", "int", "bool"]


class Operation(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """An operation of a graph, on arrays; the batch is one stream."""

    op: str  # name in OPERATIONS of the reader
    inputs: tuple[str | float, ...] = ()  # names of values or of weights, or numbers
    output: str  # name of the result
    kind: NumberKind = "float"  # numbers of the result
    shape: tuple[int, ...] = ()  # of the result
    axes: tuple[int, ...] = ()  # that it acts on; for transpose the order of all axes
    start: int = 0  # first index of a slice
    values: tuple[float | str, ...] = ()  # of a constant; one: all are equal. "inf", "nan": text


class Program(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Operations in the order in which they are computed."""

    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]  # names of values or of weights: the logits, then every state


class StateShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the state that is carried from token to token."""

    name: str  # layer and name in the cell's equations, such as layers.0.h
    shape: tuple[int, ...]


class ModelGraph(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`graph.json` of an exported model: what is computed, as data.

    Names that are not results of operations are weights in `model.safetensors`, states, or `token`.
    """

    format: int
    states: tuple[StateShape, ...]
    start: Program  # of the logits of the first token and the initial states
    step: Program  # from `token` and the states to the logits of the next token and new states


class ExportedConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`config.json` of an exported model."""

    model_type: str = "charlm"
    architectures: tuple[str, ...] = ("CharLM",)
    format: int
    cell: str  # a cell of your own: FILE.py:CLASS without its directory
    hidden_size: int
    num_layers: int
    embedding_dim: int
    vocab_size: int  # ids that the model predicts, the unknown token included
    tie_weights: bool
    initial_state: Literal["zero", "learned"]
    block: Literal["none", "residual"]
    dtype: str = "float32"  # of the weights
    parameters: int
    weights_sha256: str  # of model.safetensors


class ParityCheck(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Comparison of the logits of an exported model with those of charlm."""

    reader: Literal["numpy", "onnxruntime"]
    dtype: Literal["float32", "float64"]
    lengths: tuple[int, ...]  # tokens of each text that both read
    max_difference: float  # largest absolute difference of two logits
    tolerance: float  # a larger difference is an error


class ExportedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of an exported model."""

    name: str
    size: int  # bytes


class ExportReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `charlm export`."""

    run: str
    directory: str
    cell: str
    step: int  # of the checkpoint
    weights_sha256: str
    bits_per_char: float | None  # exact score of these weights on the test split, if there is one
    operations: int  # of one step of the graph
    files: tuple[ExportedFile, ...]
    parity: tuple[ParityCheck, ...]
