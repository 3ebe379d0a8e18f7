"""Result of `charlm clean`: files that it frees, and files that it leaves."""

from typing import Literal

import msgspec

SurplusKind = Literal[
    "training_state",
    "checkpoint",
    "temporary",
    "lock",
    "orphaned_probes",
    "cached_text",
    "cached_kernel",
]
# in_use: a live process uses it. damaged: the best weights of a run, so that nothing of it is
# removed. link: a symbolic link is in the way.
SkipReason = Literal["in_use", "damaged", "incompatible", "link"]


class Surplus(msgspec.Struct, frozen=True, kw_only=True):
    """A file or directory that can be removed, or was."""

    kind: SurplusKind  # what it is
    path: str  # of the file or directory
    size: int  # bytes


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """A directory or cached file that was left as it is."""

    path: str  # of the directory or file
    reason: SkipReason  # why


class CleanupReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `charlm clean`."""

    format: int
    removed: bool  # false: this is what would be removed
    surplus: tuple[Surplus, ...]  # in the order of their paths
    skipped: tuple[Skipped, ...]  # left as they are
    size: int  # bytes of all surplus
