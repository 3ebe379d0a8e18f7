"""Settings of the windows of a text that a training step reads, and of the states before them."""

from typing import Annotated

from msgspec import Meta

from charlm.settings.model import ModelSettings
from charlm.settings.options import TRAINING, PositiveInt, option


class WindowSettings(ModelSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of text, model and windows: all of `Config` but schedule, optimizer and machine."""

    batch_size: Annotated[
        int,
        Meta(ge=0, le=2**20),
        option(TRAINING, "Streams per batch.", default="the cell's recipe"),
    ] = 0
    seq_len: Annotated[
        PositiveInt,
        option(TRAINING, "Tokens per step (truncated BPTT).", "--bptt"),
    ] = 64
    recompute: Annotated[
        int,
        Meta(ge=0, le=2**20),
        option(TRAINING, "Steps kept for the gradient at a time.", metavar="N", default="all"),
    ] = 0
    documents: Annotated[
        str,
        Meta(min_length=1, max_length=100),
        option(TRAINING, "What starts afresh: each file, line or TEXT.", metavar="END"),
    ] = "none"
    reset_prob: Annotated[
        float,
        Meta(ge=0, le=1),
        option(TRAINING, "Chance that a stream starts afresh."),
    ] = 0.0
