"""Training records: metrics, events and checkpoint metadata."""

import hashlib
from typing import Literal

import msgspec

EventName = Literal["started", "resumed", "validated", "branched", "checkpointed", "interrupted"]


class StepMetrics(msgspec.Struct, frozen=True):
    """One optimizer step: a line of `metrics.jsonl`."""

    step: int  # optimizer steps done, this one included
    characters: int  # tokens read so far
    bits: float  # bits per token of this batch, before the step
    gradient_norm: float  # before clipping
    learning_rate: float  # of this step


class ValidationMetrics(msgspec.Struct, frozen=True):
    """A subsampled validation: a line of `metrics.jsonl`."""

    step: int
    characters: int  # tokens read so far
    valid_bits: float  # bits per token


class BranchMetrics(msgspec.Struct, frozen=True):
    """A copy of the model, decayed as if the run ended here: a line of `metrics.jsonl`."""

    fraction: float  # of the budget
    step: int  # after which the copy ended
    characters: int  # tokens that it had read
    valid_bits: float | None  # bits per token, subsampled validation; None if the copy diverged


class BranchStep(msgspec.Struct, frozen=True):
    """An optimizer step of a copy that is decayed; it is shown, but not recorded."""

    done: int  # steps of the copy
    total: int  # steps that it will have


class CheckpointSaved(msgspec.Struct, frozen=True):
    """A checkpoint was written."""

    step: int


Metrics = StepMetrics | ValidationMetrics | BranchMetrics
TrainingEvent = Metrics | BranchStep | CheckpointSaved


class RunEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of `events.jsonl`: what happened when."""

    time: float  # seconds since the epoch
    event: EventName  # what happened
    step: int
    seconds: float  # spent in optimizer steps
    device: str = ""
    threads: int = 0
    kernel: str = ""
    processes: int = 0  # number of torchrun processes


class CpuSeconds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """CPU seconds of a run, of all threads, summed over all processes that resumed it."""

    updates: float = 0.0  # optimizer steps of the run itself, with their logging
    branches: float = 0.0  # copies that were decayed and validated
    looks: float = 0.0  # validations
    score: float = 0.0  # final score
    total: float = 0.0  # whole processes, from their start


class TrainingProgress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`progress.json` of a checkpoint: where training stands."""

    step: int
    seconds: float  # spent in optimizer steps
    cpu: CpuSeconds = CpuSeconds()
    metrics_bytes: int  # length of metrics.jsonl
    valid_bits: float | None  # of exactly these weights, if they were validated
    best_step: int | None  # step of the lowest validation so far
    best_bits: float | None  # bits per token of that validation


class FileDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Length and SHA-256 of a file."""

    size: int  # bytes
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> "FileDigest":
        """Return the digest of these bytes."""
        return cls(len(data), hashlib.sha256(data).hexdigest())


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`manifest.json`: hashes of the files of a checkpoint, of the run, and of itself."""

    format: int
    step: int
    files: dict[str, FileDigest]
    run: dict[str, FileDigest]
    sha256: str = ""

    def canonical_bytes(self) -> bytes:
        """Return the only valid encoding: any other bytes are damage."""
        bare = msgspec.json.encode(msgspec.structs.replace(self, sha256=""))
        digest = hashlib.sha256(bare).hexdigest()
        return msgspec.json.encode(msgspec.structs.replace(self, sha256=digest))
