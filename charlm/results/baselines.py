"""Baselines: reference scores of a text, in `baselines-KEY.json` and in reports."""

from typing import Literal

import msgspec

BaselineKind = Literal["static", "adaptive"]


class BaselineDetails(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Conditions under which a baseline was measured."""

    vocabulary_size: int | None = None  # uniform
    order: int | None = None  # n-gram
    max_order: int | None = None  # highest order that was tried
    is_at_edge: bool = False  # True if the highest order is the best: a higher one may be better
    bits_by_order: tuple[float, ...] = ()  # n-gram: bits/char of test for orders 1, 2, ...
    training_tokens: int | None = None  # tokens of train that were counted
    training_is_partial: bool = False  # True if train is longer
    selection_tokens: int | None = None  # tokens of valid that chose the order
    window_bytes: int | None = None  # history that a compressor uses; None: all of it
    block_bytes: int | None = None  # size of blocks that a compressor packs independently
    missing_package: str | None = None  # extra of charlm that would have to be installed


class BaselineResult(BaselineDetails, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Reference score of the test split.

    A static baseline learns from train alone, as a run does. An adaptive one goes on learning
    while it reads the test split.
    """

    name: str  # such as uniform, n-gram or gzip
    kind: BaselineKind  # an adaptive one also learns from the test split
    bits_per_char: float | None  # None if it was not measured, or the bytes have no characters
    bits_per_byte: float | None  # None if it was not measured


class BaselineCache(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`baselines-KEY.json`: baselines that were measured on one text, splits and version."""

    results: tuple[BaselineResult, ...]  # all baselines, in the order in which they were measured
