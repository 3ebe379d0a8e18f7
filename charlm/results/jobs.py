"""Progress of jobs that run side by side."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

JobStatus = Literal["pending", "running", "finished", "diverged"]


class JobProgress(NamedTuple):
    """Progress of a job, according to its directory."""

    status: Literal["", "finished", "diverged"] = ""  # empty while it has not ended
    done: int = 0
    total: int = 0  # value of `done` at the end; 0 while it is unknown
    bits: float | None = None  # latest validation, bits per token
    length: int | None = None  # of a curriculum: the length in training
    accuracy: float | None = None  # of a curriculum: at that length


@dataclass
class JobState:
    """A job among others."""

    name: str
    progress: JobProgress = JobProgress()
    status: JobStatus = "pending"
    restarts: int = 0  # times that its process was killed
