"""Kinds of surplus files, and why others stay, in words."""

from charlm.results.cleanup import SkipReason, SurplusKind

KINDS: dict[SurplusKind, str] = {
    "training_state": "optimizer state",
    "checkpoint": "surplus checkpoint",
    "temporary": "unfinished file",
    "lock": "lock of no process",
    "orphaned_probes": "probes of a missing run",
    "cached_text": "encoded text",
    "cached_kernel": "compiled kernel",
}
REASONS: dict[SkipReason, str] = {
    "in_use": "another process uses it",
    "damaged": "its best weights are missing or damaged, so that all checkpoints stay",
    "incompatible": "it is a run of another format",
    "link": "its checkpoints are behind a symbolic link",
}
