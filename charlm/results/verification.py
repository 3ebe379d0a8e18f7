"""Results of `charlm verify`: problems of the files of runs, and what would be used of the runs."""

from typing import Literal

import msgspec

# damaged: its content is wrong, or contradicts another file. special: a FIFO, socket or device, or
# a directory in place of a file, or the reverse. format: it is that of another charlm. foreign: it
# is no part of a run.
FileNoteKind = Literal["damaged", "missing", "link", "special", "format", "foreign"]
ResultsKind = Literal["comparison", "curriculum", "probes"]


class FileNote(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was found about a file or directory."""

    file: str  # path in the run; of a note on no run: the path itself
    kind: FileNoteKind  # damaged, missing, link, special, format or foreign
    text: str  # what is wrong, or harmless


class VerifiedCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint of a run."""

    folder: str  # checkpoints, or before-decay
    step: int  # optimizer steps done
    intact: bool  # whether it can be used
    has_state: bool  # whether training can go on from it


class RunVerification(msgspec.Struct, frozen=True, kw_only=True):
    """Findings of `charlm verify` in the directory of a run."""

    path: str  # its directory
    files: int  # that were read
    size: int  # bytes of all files
    problems: tuple[FileNote, ...]  # empty: the run is intact
    notes: tuple[FileNote, ...]  # what is harmless, such as a file of another program
    checkpoints: tuple[VerifiedCheckpoint, ...]  # by folder and step
    best_step: int | None  # of the weights that charlm would use now; None: there are none
    last_step: int | None  # that charlm would continue from now; None: it cannot be continued
    longer_step: int | None  # that a longer budget would go on from; None: it is not possible
    custom_cell: bool  # names and shapes of tensors are unknown: its cell was not executed


class ResultsVerification(msgspec.Struct, frozen=True, kw_only=True):
    """Findings of `charlm verify` in a comparison without its runs, a curriculum, or probes."""

    path: str  # its directory
    kind: ResultsKind  # comparison, curriculum (of charlm tasks train) or probes
    files: int  # JSON files and logs that were read
    finished: bool  # False: there is no report yet, or the last length is not trained to the end
    problems: tuple[FileNote, ...]  # empty: the results are intact


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `charlm verify`: runs in the order of their paths."""

    format: int
    intact: bool  # whether nothing is wrong with any run or results
    runs: tuple[RunVerification, ...]
    results: tuple[ResultsVerification, ...] = ()  # of comparisons, curricula and probes
    notes: tuple[FileNote, ...]  # links below the directories, which are not followed
