"""Training records: metrics, events and checkpoint metadata."""

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from charlm.results.values import Count, Number, Sha256

Step = Annotated[int, Meta(ge=0, le=10**9)]  # optimizer steps
Seconds = Annotated[float, Meta(ge=0.0, le=1e12)]
Rate = Annotated[float, Meta(ge=0.0, le=1e3)]  # learning rate
Fraction = Annotated[float, Meta(gt=0.0, le=1.0)]
EventName = Literal["started", "resumed", "validated", "branched", "checkpointed", "interrupted"]


class StepMetrics(msgspec.Struct, frozen=True):
    """One optimizer step: a line of `metrics.jsonl`."""

    step: Step  # optimizer steps done, this one included
    characters: Count  # tokens read so far
    bits: Number  # bits per token of this batch, before the step
    gradient_norm: Number  # before clipping
    learning_rate: Rate  # of this step


class ValidationMetrics(msgspec.Struct, frozen=True):
    """A subsampled validation: a line of `metrics.jsonl`."""

    step: Step
    characters: Count  # tokens read so far
    valid_bits: Number  # bits per token


class BranchMetrics(msgspec.Struct, frozen=True):
    """A copy of the model, decayed as if the run ended here: a line of `metrics.jsonl`."""

    fraction: Fraction  # of the budget
    step: Step  # after which the copy ended
    characters: Count  # tokens that it had read
    valid_bits: Number | None  # bits per token, subsampled validation; None if the copy diverged


class BranchStep(msgspec.Struct, frozen=True):
    """An optimizer step of a copy that is decayed; it is shown, but not recorded."""

    done: int  # steps of the copy
    total: int  # steps that it will have


class CheckpointSaved(msgspec.Struct, frozen=True):
    """A checkpoint was written."""

    step: Step


Metrics = StepMetrics | ValidationMetrics | BranchMetrics
TrainingEvent = Metrics | BranchStep | CheckpointSaved


class RunEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of `events.jsonl`: what happened when."""

    time: Seconds  # seconds since the epoch
    event: EventName  # what happened
    step: Step
    seconds: Seconds  # spent in optimizer steps
    device: str = ""
    threads: Count = 0
    kernel: str = ""
    processes: Count = 0  # number of torchrun processes


class CpuSeconds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """CPU seconds of a run, of all threads, summed over all processes that resumed it."""

    updates: Number = 0.0  # optimizer steps of the run itself, with their logging
    branches: Number = 0.0  # copies that were decayed and validated
    looks: Number = 0.0  # validations
    score: Number = 0.0  # final score
    total: Number = 0.0  # whole processes, from their start


class TrainingProgress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`progress.json` of a checkpoint: where training stands."""

    step: Step
    seconds: Seconds  # spent in optimizer steps
    cpu: CpuSeconds = CpuSeconds()
    metrics_bytes: Count  # length of metrics.jsonl
    valid_bits: Number | None  # of exactly these weights, if they were validated
    best_step: Step | None  # step of the lowest validation so far
    best_bits: Number | None  # bits per token of that validation


class FileDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Length and SHA-256 of a file."""

    size: Count  # bytes
    sha256: Sha256

    @classmethod
    def of(cls, data: bytes) -> "FileDigest":
        """Return the digest of these bytes."""
        return cls(len(data), hashlib.sha256(data).hexdigest())


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`manifest.json`: hashes of the files of a checkpoint, of the run, and of itself."""

    format: int
    step: Step
    files: dict[str, FileDigest]
    run: dict[str, FileDigest]
    sha256: str = ""

    def canonical_bytes(self) -> bytes:
        """Return the only valid encoding: any other bytes are damage."""
        bare = msgspec.json.encode(msgspec.structs.replace(self, sha256=""))
        digest = hashlib.sha256(bare).hexdigest()
        return msgspec.json.encode(msgspec.structs.replace(self, sha256=digest))
