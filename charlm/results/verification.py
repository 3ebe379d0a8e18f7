"""Verification of runs: result of `charlm verify`."""

import msgspec


class FileProblem(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong with a file or directory of a run."""

    file: str  # its path in the run; empty: the run itself
    problem: str  # what is wrong, and what to try


class VerifiedCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint of a run."""

    folder: str  # checkpoints, or before-decay
    step: int  # optimizer steps done
    intact: bool  # whether it can be used
    has_state: bool  # whether training can go on from it


class RunVerification(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in the directory of a run."""

    path: str  # its directory
    files: int  # that were read
    size: int  # bytes of all files
    problems: tuple[FileProblem, ...]  # empty: the run is intact
    checkpoints: tuple[VerifiedCheckpoint, ...]  # by folder and step
    best_step: int | None  # of the weights that charlm would use now; None: there are none
    last_step: int | None  # that charlm would continue from now; None: it cannot be continued
    custom_cell: bool  # names and shapes of tensors are unknown: its cell was not executed


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `charlm verify`: runs in the order of their paths."""

    format: int
    intact: bool  # whether nothing is wrong with any run
    runs: tuple[RunVerification, ...]
