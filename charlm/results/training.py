"""Training records: metrics, events and checkpoint metadata."""

import hashlib
from typing import Literal

import msgspec

EventName = Literal["started", "resumed", "validated", "checkpointed", "interrupted"]


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


class CheckpointSaved(msgspec.Struct, frozen=True):
    """A checkpoint was written."""

    step: int


TrainingEvent = StepMetrics | ValidationMetrics | CheckpointSaved


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


class TrainingProgress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`progress.json` of a checkpoint: where training stands."""

    step: int
    seconds: float  # spent in optimizer steps
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
