"""Run records and reports: `run.json` and `report.json` of a training run."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from charlm.config import Config
from charlm.results.baselines import BaselineResult
from charlm.results.costs import CostsByClass, DynamicScore, ProgramScore
from charlm.results.run_start import InitialWeights, LongerBudget
from charlm.results.text import CorpusRecord, TextNote, UnitKind
from charlm.results.training import CpuSeconds, Seconds, Step
from charlm.results.values import Count, Number, OptionalSha256, Sha256

Steps = Annotated[int, Meta(ge=1, le=10**9)]  # budget in optimizer steps
ScoredSplit = Literal["test", "valid", "none"]
DeviceReason = Literal["requested", "gpu_available", "no_gpu"]


class KernelReason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Reason for a choice of kernel."""

    kind: Literal["requested", "fastest", "threads"]  # threads: it alone uses more than one
    skipped: dict[str, str] = {}  # faster kernel -> cause that it does not support the cell


class Environment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Software and machine of a run."""

    charlm: str  # version
    torch: str  # version
    python: str  # version
    machine: str  # architecture of the processor
    device: str
    threads: Count  # on a CPU
    processes: Count  # number of torchrun processes
    processor: str = ""  # model of the processor or GPU


class RunRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`run.json`: what determines the run and what was resolved at its creation."""

    format: int
    config: Config
    text: CorpusRecord
    max_steps: Steps  # resolved budget in optimizer steps
    kernel: str  # resolved kernel
    kernel_reason: KernelReason  # reason for this kernel
    cell_sha256: OptionalSha256 = ""  # of the file of a custom cell
    parameters: Count
    state_size: Count  # floats carried per stream
    environment: Environment
    initial_weights: InitialWeights | None = None  # of --init-from; None: new weights
    extends: LongerBudget | None = None  # shorter run that this one goes on from


class Score(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Exact score of a text, read once.

    Files, or their beginnings (`test_chars`), follow each other as one stream: the state is carried
    on. With `documents`, it is the initial one before each document.
    """

    bits_per_char: Number | None  # None if the bytes are not UTF-8
    bits_per_byte: Number  # bits per byte of the text as UTF-8
    nats_per_char: Number | None  # None if the bytes are not UTF-8
    characters: Count | None  # scored characters; None if the bytes are not UTF-8
    bytes: Count  # scored bytes
    tokens: Count  # scored tokens: characters or bytes
    unknown_tokens: Count  # tokens outside of the vocabulary
    protocol: str  # "one-stream"; with documents "by-document"
    corpus_sha256: Sha256  # of the whole text that the scored part was taken from
    text_sha256: Sha256  # of exactly the scored bytes
    unit_kind: UnitKind  # what costs are summed over: files, groups of lines or blocks
    block_bits: tuple[Number, ...]  # bits of each of these units
    block_lengths: tuple[Count, ...]  # characters (bytes if not UTF-8) of each unit

    def __post_init__(self) -> None:
        """Check that each unit has bits and a length."""
        if not 0 < len(self.block_bits) == len(self.block_lengths):
            raise ValueError("block_bits and block_lengths need one entry for each unit")


class RunReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`report.json` of a finished run."""

    format: int
    cell: str
    hidden_size: Count
    num_layers: Count
    parameters: Count
    state_size: Count
    seed: Count
    kernel: str
    steps: Steps  # optimizer steps
    characters_read: Count  # training tokens read
    seconds: Seconds  # spent in optimizer steps
    cpu: CpuSeconds = CpuSeconds()
    chars_per_second: Number  # training tokens per second of optimizer steps
    best_step: Step | None  # step of the lowest validation; None if there was none
    best_valid_bits: Number | None  # bits per token, subsampled validation
    validation_protocol: str  # "subsampled"
    weights_sha256: Sha256
    scored_split: ScoredSplit  # split that was scored exactly
    score: Score | None  # None if scored_split is "none"


class Divergence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`diverged.json`: why a run has no report."""

    reason: str  # quantity that became infinite or NaN, and its step


class EvaluationReport(Score, frozen=True, kw_only=True):
    """Score of a run, with what was scored: result of `charlm eval`."""

    split: str | None  # None for another text
    run_corpus_sha256: str  # of the text that the run was trained on
    weights_sha256: str
    step: int  # of the checkpoint
    kernel: str
    notes: tuple[TextNote, ...]  # oddities of another text that the run's text does not have
    by_class: CostsByClass | None = None  # with --by-class
    dynamic: DynamicScore | None = None  # with --dynamic: beside the exact score, never instead
    as_program: ProgramScore | None = None  # with --protocol: the loss that a program would print
    baselines: tuple[BaselineResult, ...] = ()  # with --baselines: of the same test split

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one dictionary: the exact score, without lists and scores beside it."""
        row: dict[str, Any] = msgspec.to_builtins(self)
        beside = ("by_class", "dynamic", "as_program")
        return [
            {
                key: value
                for key, value in row.items()
                if key not in beside and not isinstance(value, (list, tuple))
            }
        ]


class ThreadTiming(msgspec.Struct, frozen=True):
    """Measured speed of a run with a number of CPU threads."""

    threads: int
    seconds_per_step: float  # median


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A run before its first step, for display."""

    record: RunRecord
    config: Config  # as it runs now: a resumed run may have another device or kernel
    vocabulary_size: int
    vocabulary_kind: str
    seconds_per_step: float
    seconds: float  # estimate of the whole command, start-up, validations and score included
    memory_bytes: int  # estimate
    disk_bytes: int  # estimate of the finished run
    kernel: str
    kernel_reason: KernelReason
    device: str
    device_reason: DeviceReason
    thread_timings: tuple[ThreadTiming, ...] = ()  # that `threads` was chosen by, if it was auto
    steps_done: int = 0  # of a resumed run
    path: str = ""  # run directory
    notes: tuple[TextNote, ...] = ()  # on the text
