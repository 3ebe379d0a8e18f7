"""Probe interface: input and output of a probe, and its registration."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charlm.data.vocabulary import TokenIds, Vocabulary
from charlm.evaluation.scoring import TOKENS_PER_FORWARD, token_nll
from charlm.evaluation.streaming import LanguageModel, iter_logits
from charlm.models.char_lm import CharLM
from charlm.progress import ProgressCallback, ignore
from charlm.registry import Registry, docstring_sections
from charlm.results.probes import ProbeDocumentation, ProbeResult

Artifacts = Mapping[str, Tensor]
DOCUMENTED_SECTIONS = ("question", "protocol", "unit", "chance", "source")


@dataclass(frozen=True, kw_only=True)
class ProbeContext:
    """A trained model and the text that a probe reads.

    Most probes see the model through `model` alone, so a fake of known memory can test them.
    """

    model: LanguageModel
    ids: TokenIds  # (length,), held-out text; an unknown character has the id `unk_id`
    vocabulary: Vocabulary
    train_ids: TokenIds  # (length,), training split: other text, and source of n-gram counts
    seed: int = 0  # of every random choice
    tick: ProgressCallback = ignore  # gets the number of tokens read since
    char_lm: CharLM | None = None  # for probes that need cells or gradients; None: a fake
    make_untrained_model: Callable[[], CharLM] | None = None  # the model before its first step

    @property
    def unit(self) -> str:
        """The name of a token: "character" or "byte"."""
        return "byte" if self.vocabulary.kind == "bytes" else "character"

    @cached_property
    def bits(self) -> NDArray[np.float64]:
        """Bits of each token with full context, (length,): one stream, state carried.

        The cost of naming an unknown character is left out: no memory could reduce it.
        """
        with torch.inference_mode():
            nats = [token_nll(logits, ids).cpu() for ids, logits in self.iter_logits()]
        return torch.cat(nats)[:, 0].numpy() / math.log(2)

    def iter_logits(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Read the text as one stream.

        Yields:
            ids: Next piece of the text, (time, 1).
            logits: Prediction of each of these tokens, (time, 1, vocabulary_size).
        """
        pieces = torch.from_numpy(np.asarray(self.ids, np.int64))[:, None].split(TOKENS_PER_FORWARD)
        for ids, logits in iter_logits(self.model, pieces, self.model.initial_state(1)):
            yield ids, logits
            self.tick(len(ids))


@dataclass(frozen=True)
class ProbeOutput:
    """Result of a probe, and the tensors that a group probe needs from each run."""

    result: ProbeResult
    artifacts: Artifacts = field(default_factory=dict)


class ProbeNotApplicableError(Exception):
    """A probe does not apply to this run or text; the message is the reason."""


@dataclass(frozen=True)
class RunProbe:
    """A probe of one run."""

    name: str
    documentation: ProbeDocumentation
    measure: Callable[[ProbeContext], ProbeOutput]


@dataclass(frozen=True)
class GroupProbe:
    """A probe of a group of runs, computed from the artifacts of another probe."""

    name: str
    documentation: ProbeDocumentation
    depends_on: str  # name of the probe that makes the artifacts
    compare: Callable[[Mapping[str, Artifacts]], ProbeResult]  # gets them by name of the run


Probe = RunProbe | GroupProbe

# Reports have the probes in order of their names: a new probe is one file and no other change, and
# related probes (context-...) are together because their names are related.
PROBES: Registry[Probe] = Registry(
    "probe", "charlm.probes", {"base", "batch", "effective_context", "report", "runner"}
)

Measure = Callable[..., ProbeOutput]
Compare = Callable[[Mapping[str, Artifacts]], ProbeResult]


def register_probe(name: str) -> Callable[[Measure], Measure]:
    """Return a decorator that registers a function of a ProbeContext as a probe of one run.

    Further parameters of the function need defaults. Its docstring needs paragraphs that begin
    with the headings in DOCUMENTED_SECTIONS; they are shown with the result.
    """

    def decorate(measure: Measure) -> Measure:
        PROBES.register(name)(RunProbe(name, read_documentation(measure.__doc__), measure))
        return measure

    return decorate


def register_group_probe(name: str, depends_on: str) -> Callable[[Compare], Compare]:
    """Return a decorator that registers a function of artifacts by run as a group probe."""

    def decorate(compare: Compare) -> Compare:
        documentation = read_documentation(compare.__doc__)
        PROBES.register(name)(GroupProbe(name, documentation, depends_on, compare))
        return compare

    return decorate


def read_documentation(docstring: str | None) -> ProbeDocumentation:
    """Return the documented sections of a probe's docstring."""
    return ProbeDocumentation(**docstring_sections(docstring or "", DOCUMENTED_SECTIONS))
