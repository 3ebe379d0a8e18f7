"""Settings of a text and of a model that is trained on it."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from charlm.settings.options import MODEL, TEXT, Name, PositiveInt, Word, option

# Settings that only some cells have: `Cell.options` names them.
CELL_OPTIONS = ("num_heads", "eigenvalues")
TEST_CHARS_PER_MINUTE = 100_000  # that are scored at most if the budget is in minutes


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of text and model: the first part of `Config`."""

    # text
    glob: Annotated[
        Name,
        option(TEXT, "Files of a directory.", metavar="GLOB", default="all text files"),
    ] = ""
    vocab: Annotated[
        Literal["chars", "bytes"],
        option(TEXT, "Tokens: Unicode code points or bytes."),
    ] = "chars"
    split_ratios: Annotated[
        Word,
        option(TEXT, "Parts of train, valid and test.", metavar="A/B/C"),
    ] = "90/5/5"
    split_by: Annotated[
        Literal["auto", "position", "file", "line"],
        option(
            TEXT,
            "Unit: position, file, line or auto.",
        ),
    ] = "auto"
    test_chars: Annotated[
        int,
        Meta(ge=0, le=10**12),
        option(
            TEXT,
            "Test characters to score.",
            default="all",
        ),
    ] = 0
    min_char_frequency: Annotated[
        float,
        Meta(ge=0, lt=1),
        option(
            TEXT,
            "Rarer characters are unknown.",
        ),
    ] = 1e-5
    valid_file: Annotated[
        Name,
        option(TEXT, "File to validate on instead of a split.", metavar="PATH", can_change=True),
    ] = ""
    test_file: Annotated[
        Name, option(TEXT, "File to test on instead of a split.", metavar="PATH", can_change=True)
    ] = ""

    # model
    cell: Annotated[
        Name,
        option(MODEL, "Cell (charlm cells) or FILE.py:CLASS.", metavar="CELL"),
    ] = "lstm"
    hidden_size: Annotated[PositiveInt, option(MODEL, "Units per layer.")] = 256
    num_layers: Annotated[int, Meta(ge=1, le=64), option(MODEL, "Recurrent layers.")] = 1
    embedding_dim: Annotated[PositiveInt, option(MODEL, "Size of an embedding.")] = 64
    dropout: Annotated[
        float, Meta(ge=0, lt=1), option(MODEL, "Dropout of each layer's output.")
    ] = 0.0
    weight_dropout: Annotated[
        float,
        Meta(ge=0, lt=1),
        option(MODEL, "Dropout of the recurrent weights."),
    ] = 0.0
    tie_weights: Annotated[bool, option(MODEL, "Share the input embedding with the output.")] = (
        False
    )
    initial_state: Annotated[
        Literal["zero", "learned"], option(MODEL, "First state: zero or learned.")
    ] = "zero"
    forget_bias: Annotated[
        Word,
        option(
            MODEL,
            "Bias of forget and update gates: default, a number, chrono or chrono:N (tokens).",
            metavar="BIAS",
        ),
    ] = "default"
    recurrent_init: Annotated[
        Literal["recipe", "default", "orthogonal"],
        option(
            MODEL,
            "Recipe, default or orthogonal.",
        ),
    ] = "recipe"
    num_heads: Annotated[
        int, Meta(ge=1, le=1024), option(MODEL, "Heads of a cell whose state is a matrix.")
    ] = 4
    eigenvalues: Annotated[
        Literal["positive", "signed"],
        option(MODEL, "From 0 or, signed, from -1 to 1."),
    ] = "positive"
    block: Annotated[
        Literal["none", "residual"],
        option(MODEL, "Block around each cell."),
    ] = "none"
    conv: Annotated[
        int,
        Meta(ge=0, le=64),
        option(MODEL, "Width of a convolution before cells.", default="none"),
    ] = 0
    kernel: Annotated[
        Word,
        option(
            MODEL,
            "Kernel of the recurrence, or auto.",
            metavar="KERNEL",
            can_change=True,
        ),
    ] = "auto"
