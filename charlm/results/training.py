"""TODO docstring."""

import msgspec


class TrainingProgress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a checkpoint stands."""

    step: int
    seconds: float  # spent in updates
    metrics_bytes: int  # length of metrics.jsonl
    valid_bits: float | None  # of exactly these weights, where they were validated
    best_step: int | None
    best_bits: float | None


class FileDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bytes: int
    sha256: str


class StepMetrics(msgspec.Struct, frozen=True):
    """One optimiser update."""

    step: int  # how many were done, this one included
    characters: int  # read so far
    bits: float  # per symbol of this batch, before the update
    gradient_norm: float  # before clipping
    learning_rate: float


class ValidationMetrics(msgspec.Struct, frozen=True):
    """A quick look at the validation split."""

    step: int
    characters: int
    valid_bits: float


class CheckpointSaved(msgspec.Struct, frozen=True):
    step: int


TrainingEvent = StepMetrics | ValidationMetrics | CheckpointSaved
