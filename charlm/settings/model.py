"""Settings of a text and of a model that is trained on it."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from charlm.settings.options import MODEL, TEXT, PositiveInt, option

TEST_CHARS_PER_MINUTE = 100_000  # that are scored at most if the budget is in minutes


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of text and model: the first part of `Config`."""

    # text
    glob: Annotated[
        str, option(TEXT, "Pattern of the files to read in a directory.", metavar="GLOB")
    ] = "**/*.txt"
    vocab: Annotated[
        Literal["chars", "bytes"],
        option(TEXT, "Kind of token: Unicode code points or single bytes."),
    ] = "chars"
    split_ratios: Annotated[
        str,
        option(
            TEXT, "Proportions of the train, valid and test splits, in this order.", metavar="A/B/C"
        ),
    ] = "90/5/5"
    split_by: Annotated[
        Literal["auto", "position", "file", "line"],
        option(
            TEXT,
            "What a split is made of: position (one cut through the whole text), file (each file "
            "is in one split, by a hash of its path) or line (for independent items, by a hash of "
            "the line). auto: file where the text is at least 100 files, else position.",
        ),
    ] = "auto"
    test_chars: Annotated[
        int,
        Meta(ge=0, le=10**12),
        option(
            TEXT,
            "Score at most this many characters of the test split: excerpts of its files, of one "
            "length, or the beginning of the split if it is not by file.",
            default=f"all; with --minutes {TEST_CHARS_PER_MINUTE} per minute",
        ),
    ] = 0
    min_char_frequency: Annotated[
        float,
        Meta(ge=0, lt=1),
        option(
            TEXT,
            "Characters that are rarer in the training split are coded as unknown characters.",
        ),
    ] = 1e-5
    valid_file: Annotated[
        str,
        option(TEXT, "File to validate on, instead of a split.", metavar="PATH", can_change=True),
    ] = ""
    test_file: Annotated[
        str, option(TEXT, "File to test on, instead of a split.", metavar="PATH", can_change=True)
    ] = ""

    # model
    cell: Annotated[
        str,
        option(
            MODEL, "Recurrent cell: a name from charlm cells, or FILE.py:CLASS.", metavar="CELL"
        ),
    ] = "lstm"
    hidden_size: Annotated[PositiveInt, option(MODEL, "Units per layer.")] = 256
    num_layers: Annotated[int, Meta(ge=1, le=64), option(MODEL, "Recurrent layers.")] = 1
    embedding_dim: Annotated[PositiveInt, option(MODEL, "Size of a token's embedding.")] = 64
    dropout: Annotated[
        float, Meta(ge=0, lt=1), option(MODEL, "Dropout probability of each layer's output.")
    ] = 0.0
    weight_dropout: Annotated[
        float,
        Meta(ge=0, lt=1),
        option(MODEL, "Dropout probability of the hidden-to-hidden weights."),
    ] = 0.0
    tie_weights: Annotated[
        bool, option(MODEL, "Use one matrix as input embedding and output projection.")
    ] = False
    initial_state: Annotated[
        Literal["zero", "learned"], option(MODEL, "State before the first token.")
    ] = "zero"
    forget_bias: Annotated[
        str,
        option(
            MODEL,
            "Initial bias of the LSTM forget gate, GRU update gate and similar gates: default, a "
            "number, chrono or chrono:N (N tokens; chrono alone takes --seq-len). default leaves "
            "it to the cell.",
            metavar="BIAS",
        ),
    ] = "default"
    recurrent_init: Annotated[
        Literal["recipe", "default", "orthogonal"],
        option(
            MODEL,
            "Initial hidden-to-hidden matrices: recipe (the cell's recipe names one of the other "
            "two), default (leaves them to the cell) or orthogonal.",
        ),
    ] = "recipe"
    block: Annotated[
        Literal["none", "residual"],
        option(MODEL, "Block around each cell. residual: pre-norm, residual and gated MLP."),
    ] = "none"
    kernel: Annotated[
        str,
        option(
            MODEL,
            "Implementation of the recurrence: auto, or a name from charlm cells.",
            metavar="KERNEL",
            can_change=True,
        ),
    ] = "auto"
