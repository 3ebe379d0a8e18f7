"""Results of `charlm reproduce`: published numbers beside ours."""

from typing import Literal

import msgspec

from charlm.results.run import Environment
from charlm.results.values import Count, Number


class ClaimResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A published number, and ours with the same unit."""

    name: str  # of the claim within its anchor
    published: Number | None  # the number of the source; None: it has a figure alone
    criterion: Literal["near", "at least", "at most"]  # how ours must be to the bound
    bound: Number  # near: largest difference from the published number
    values: tuple[Number | None, ...]  # ours, one per seed; None: diverged; empty: not measured
    met: bool | None  # whether the median of ours meets the criterion; None: not measured
    seconds: Number  # of training, all seeds


class AnchorResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Numbers of one source and setting."""

    name: str  # that the command takes
    title: str  # what is measured
    source: str  # authors, year and table
    unit: str  # of all its numbers
    published_setting: str  # sizes, data and budget of the source
    known: str = ""  # of numbers that are not met
    our_setting: str  # and why it is another, where it is
    text: str = ""  # name of the text that is needed; empty: none
    text_source: str = ""  # where that text is from
    text_sha256: str = ""  # of the text that was read, or that must be
    is_random: bool = True  # whether ours depends on the seed
    not_measured: str = ""  # reason
    environment: Environment | None = None  # software and machine; None: not measured
    claims: tuple[ClaimResult, ...]  # its numbers


class AnchorSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Summary of an anchor, and its needs."""

    name: str  # that the command takes
    title: str  # what is measured
    source: str  # authors, year and table
    text: str  # name of the text that is needed; empty: none
    minutes: float  # of all numbers with one seed, about, on one core


class AnchorList(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `charlm reproduce --list`."""

    anchors: tuple[AnchorSummary, ...]  # those that need no text first


class ReproductionReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`report.json` of `charlm reproduce`."""

    format: Count  # of this file
    anchors: tuple[AnchorResult, ...]  # all, measured or not
