"""List of runs: result of `charlm runs`."""

from typing import Literal

import msgspec

# locked: another process writes it. unfinished: it can be resumed. link: a file or directory in it
# is a link, which is not followed. incompatible: its format is another than that of this charlm.
RunState = Literal[
    "finished", "locked", "unfinished", "diverged", "damaged", "link", "incompatible"
]
# init_from: the weights of another run. longer: the state of a run with a smaller budget.
StartKind = Literal["new", "init_from", "longer"]
BitsKind = Literal["test", "valid", "subsampled"]


class ListedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run below a directory, as far as its small files tell."""

    path: str  # its directory
    state: RunState  # locked: being written now; unfinished: can be resumed
    start: StartKind = "new"  # what it began with
    problem: str = ""  # damaged, link: why; diverged: what is not finite; incompatible: its format
    cell: str = ""  # "" if run.json cannot be read, as for the fields below
    text: str = ""  # name of the first source, and the number of further ones
    bits: float | None = None  # per character, or per byte of a vocabulary of bytes
    bits_kind: BitsKind | None = None  # exact on the test or validation split, or best subsampled
    step: int = 0  # of the last checkpoint
    max_steps: int = 0  # budget in optimizer steps
    parameters: int = 0
    size: int  # bytes of all files
    modified: float  # last write: seconds since the epoch


class RunList(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `charlm runs`: runs in the order of their paths."""

    format: int
    runs: tuple[ListedRun, ...]
