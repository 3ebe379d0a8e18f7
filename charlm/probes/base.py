"""Probe interface: input and output of a probe, and its registration."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charlm.data.documents import Starts
from charlm.data.stored_ids import StoredIds
from charlm.data.vocabulary import TokenIds, Vocabulary
from charlm.evaluation.scoring import TOKENS_PER_FORWARD
from charlm.evaluation.streaming import LanguageModel, iter_document_logits, iter_logits
from charlm.models.char_lm import CharLM
from charlm.probes.true_context import TrueContext
from charlm.progress import ProgressCallback, ignore
from charlm.registry import Registry, docstring_sections
from charlm.results.probe_limits import NotApplicableReason
from charlm.results.probes import ProbeDocumentation, ProbeResult
from charlm.seeding import derive_seed

Artifacts = Mapping[str, Tensor]
DOCUMENTED_SECTIONS = ("question", "protocol", "unit", "chance", "source")
# Those that a comparison judges, and those that it and `charlm probe` measure if they are not told
# otherwise, which together make a memory profile.
MEMORY_PROBES = ("context-replacement", "context-shuffle", "repeated-words")
DEFAULT_PROBES = ("context-replacement", "context-shuffle", "position", "readout", "repeated-words")


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeContext:
    """A trained model and the text that a probe reads.

    Most probes see the model through `model` alone, so a fake of known memory can test them.
    """

    model: LanguageModel
    ids: TokenIds  # (length,), held-out text; an unknown character has the id `unk_id`
    vocabulary: Vocabulary
    train_ids: TokenIds | StoredIds  # (length,), training split: source of n-gram and word counts
    unit_edges: NDArray[np.int64]  # (units + 1,), first tokens of the text's units; may pass `ids`
    unit_kind: Literal["file", "line", "block"] = "block"
    window: int = 128  # tokens that training propagated gradients through
    starts: Starts | None = None  # (length,), tokens before which the state is reset; None: none
    seed: int = 0  # of every random choice
    expect: ProgressCallback = ignore  # gets the number of tokens that will be read
    tick: ProgressCallback = ignore  # gets the number of tokens read since
    char_lm: CharLM | None = None  # for probes that need cells or gradients; None: a fake
    make_untrained_model: Callable[[], CharLM] | None = None  # the model before its first step

    @property
    def unit(self) -> str:
        """The name of a token: "character" or "byte"."""
        return "byte" if self.vocabulary.kind == "bytes" else "character"

    @cached_property
    def true_context(self) -> TrueContext:
        """The text, read with all that precedes: the probes of a run share it."""
        return TrueContext(self.model, self.ids, self.tick, self.starts)

    def random(self, purpose: str) -> np.random.Generator:
        """Return random numbers that are the same for all models that read this text."""
        text = hashlib.sha256(np.asarray(self.ids, "<i8").tobytes()).hexdigest()
        return np.random.default_rng(derive_seed(self.seed, f"{purpose}/{text}"))

    def iter_logits(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Read the text as one stream; each document from the initial state if the model does so.

        Yields:
            ids: Next piece of the text, (time, 1).
            logits: Prediction of each of these tokens, (time, 1, vocabulary_size).
        """
        pieces = torch.from_numpy(np.asarray(self.ids, np.int64))[:, None].split(TOKENS_PER_FORWARD)
        state = self.model.initial_state(1)
        pairs = iter_logits(self.model, pieces, state)
        if self.starts is not None:
            marks = torch.from_numpy(self.starts)[:, None].split(TOKENS_PER_FORWARD)
            pairs = iter_document_logits(self.model, zip(pieces, marks, strict=True), state)
        for ids, logits in pairs:
            yield ids, logits
            self.tick(len(ids))


@dataclass(frozen=True)
class ProbeOutput:
    """Result of a probe, and the tensors that a comparison needs of each run."""

    result: ProbeResult
    artifacts: Artifacts = field(default_factory=dict)


class ProbeNotApplicableError(Exception):
    """A probe does not apply to this run or text."""

    def __init__(self, reason: NotApplicableReason) -> None:
        """Create an error with a typed reason."""
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Probe:
    """A probe of one run."""

    name: str
    documentation: ProbeDocumentation
    measure: Callable[[ProbeContext], ProbeOutput]
    cost: float  # time that it takes, relative to the other probes


# Reports have the probes in order of their names: a new probe is one file and no other change, and
# related probes (context-...) are together because their names are related.
PROBES: Registry[Probe] = Registry(
    "probe",
    "charlm.probes",
    {
        *(
            "base",
            "batch",
            "dry_run",
            "estimates",
            "linear_readout",
            "order_reach",
            "places",
            "plan",
        ),
        *("rare_words", "report", "runner", "state_size", "true_context", "unit_sums", "windows"),
    },
)

Measure = Callable[..., ProbeOutput]


def register_probe(name: str, cost: float) -> Callable[[Measure], Measure]:
    """Return a decorator that registers a function of a ProbeContext as a probe.

    Its cost is about the seconds that it takes for a model of 100,000 parameters.

    Further parameters of the function need defaults. It tells the context how many tokens it will
    read (`expect`), and how many it has read since (`tick`). Its docstring needs paragraphs that
    begin with the headings in DOCUMENTED_SECTIONS; they are shown with the result.
    """

    def decorate(measure: Measure) -> Measure:
        sections = docstring_sections(measure.__doc__ or "", DOCUMENTED_SECTIONS)
        PROBES.register(name)(Probe(name, ProbeDocumentation(**sections), measure, cost))
        return measure

    return decorate
