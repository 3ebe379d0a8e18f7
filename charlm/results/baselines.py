"""Baselines: reference scores of a text, in `baselines-KEY.json` and in reports."""

from typing import Literal

import msgspec

from charlm.results.values import Count, Number

BaselineKind = Literal["static", "adaptive"]


class BaselineDetails(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Conditions under which a baseline was measured."""

    vocabulary_size: Count | None = None  # uniform
    order: Count | None = None  # n-gram
    max_order: Count | None = None  # highest order that was tried
    is_at_edge: bool = False  # True if the highest order is the best: a higher one may be better
    bits_by_order: tuple[Number, ...] = ()  # n-gram: bits/char of test for orders 1, 2, ...
    training_tokens: Count | None = None  # tokens of train that were counted
    training_is_partial: bool = False  # True if train is longer
    selection_tokens: Count | None = None  # tokens of valid that chose the order
    window_bytes: Count | None = None  # history that a compressor uses; None: all of it
    block_bytes: Count | None = None  # size of blocks that a compressor packs independently
    missing_package: str | None = None  # extra of charlm that would have to be installed


class BaselineResult(BaselineDetails, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Reference score of the test split.

    A static baseline learns from train alone, as a run does. An adaptive one goes on learning
    while it reads the test split.
    """

    name: str  # such as uniform, n-gram or gzip
    kind: BaselineKind  # an adaptive one also learns from the test split
    bits_per_char: Number | None  # None if it was not measured, or the bytes have no characters
    bits_per_byte: Number | None  # None if it was not measured


class BaselineCache(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`baselines-KEY.json`: baselines that were measured on one text, splits and version."""

    results: tuple[BaselineResult, ...]  # all baselines, in the order in which they were measured
