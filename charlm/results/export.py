"""Exported model: its graph, its configuration, and what was written and verified."""

from typing import Literal

import msgspec

NumberKind = Literal["float", "int", "bool"]


class Operation(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Operation of a graph on arrays; the batch is one stream."""

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
    shape: tuple[int, ...]  # the first size is the batch: 1


class ModelGraph(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`graph.json` of an exported model: what is computed, as data.

    Names that are not results of operations are weights in `model.safetensors`, states, or `token`.
    """

    format: int  # of graph.json; the reader refuses others
    states: tuple[StateShape, ...]
    start: Program  # of the logits of the first token and the initial states
    step: Program  # from `token` and the states to the logits of the next token and new states


class ExportedConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`config.json` of an exported model."""

    model_type: str = "charlm"  # kind of model, for libraries that read many
    architectures: tuple[str, ...] = ("CharLM",)  # class of the module in PyTorch
    format: int  # of graph.json
    cell: str  # a cell of your own: FILE.py:CLASS without its directory
    hidden_size: int  # units per layer
    num_layers: int  # recurrent layers
    embedding_dim: int  # size of an embedding
    vocab_size: int  # ids that the model predicts, the unknown token included
    tie_weights: bool  # whether input embedding and output share weights
    initial_state: Literal["zero", "learned"]  # state before the first token
    block: Literal["none", "residual"]  # around each cell
    conv: int  # width of the convolution before each cell; 0: none
    num_heads: int  # of a cell whose state is a matrix
    eigenvalues: Literal["positive", "signed"]  # of the transition of a linear cell
    dtype: str = "float32"  # of the weights
    parameters: int  # number of weights
    weights_sha256: str  # of model.safetensors


class ParityCheck(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Comparison of the logits of an exported model with those of charlm."""

    reader: Literal["numpy", "onnxruntime"]  # what read the exported model
    dtype: Literal["float32", "float64"]  # numbers that both computed with
    lengths: tuple[int, ...]  # tokens of each text that both read
    max_difference: float  # largest difference of two logits, relative to the largest, or 1
    tolerance: float  # a larger difference is an error


class ExportedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of an exported model."""

    name: str  # in the folder
    size: int  # bytes


class ExportReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `charlm export`."""

    run: str  # directory of the run
    directory: str  # folder that was created
    cell: str  # name of the cell
    step: int  # of the checkpoint
    weights_sha256: str  # of model.safetensors
    bits_per_char: float | None  # exact score of these weights on the test split, if there is one
    operations: int  # of one step of the graph
    files: tuple[ExportedFile, ...]  # of the folder
    parity: tuple[ParityCheck, ...]  # one per reader and kind of number
