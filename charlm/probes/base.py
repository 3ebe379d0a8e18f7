"""What a probe is: one question about a trained model, asked of a text, answered in numbers."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charlm.data.vocabulary import TokenIds, Vocabulary
from charlm.evaluation.scoring import TOKENS_PER_FORWARD, token_nll
from charlm.evaluation.streaming import LanguageModel, iter_logits
from charlm.progress import ProgressCallback
from charlm.models.char_lm import CharLM
from charlm.registry import Registry, docstring_sections
from charlm.results.probes import ProbeResult


def no_progress(symbols: int) -> None:
    """No progress is shown."""


@dataclass(frozen=True, kw_only=True)
class ProbeContext:
    """A model in front of a text."""

    model: LanguageModel
    ids: TokenIds  # (length,), the text that is asked about, as the model knows it: unseen is the escape
    vocabulary: Vocabulary
    train_ids: (
        TokenIds  # the training split, likewise: other text, and what counts may be learnt from
    )
    seed: int = 0  # of every choice that a probe makes
    tick: ProgressCallback = no_progress  # told how many symbols were read
    # For those that look inside; a fake has none.
    char_lm: CharLM | None = None
    make_untrained_model: Callable[[], CharLM] | None = (
        None  # the same model before its first update
    )

    @cached_property
    def bits(self) -> NDArray[np.float64]:
        """What each symbol costs with full context, (length,): read in one stream, state carried.

        Naming an unseen character after its escape is not counted: no memory would help.
        """
        with torch.inference_mode():
            found = [token_nll(logits, ids).cpu() for ids, logits in self.iter_logits()]
        return torch.cat(found)[:, 0].numpy() / math.log(2)

    def iter_logits(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The text in pieces, read in one stream: ids (time, 1), and their logits."""
        pieces = torch.from_numpy(np.asarray(self.ids, np.int64))[:, None].split(TOKENS_PER_FORWARD)
        for ids, logits in iter_logits(self.model, pieces, self.model.initial_state(1)):
            yield ids, logits
            self.tick(len(ids))


class ProbeNotApplicable(Exception):
    """The question cannot be asked of this run or text; says why, in half a sentence."""


RunProbe = Callable[[ProbeContext], ProbeResult]
# {run's name: what the probe named in `of` kept of it} -> one answer for the group.
GroupProbe = Callable[[dict[str, dict[str, Tensor]]], ProbeResult]


class Probe(NamedTuple):
    name: str
    measure: RunProbe | None  # of one run
    compare: GroupProbe | None  # of a group of runs, from what the probe `of` kept of each
    depends_on: str
    documentation: dict[str, str]  # its docstring: question, protocol, unit, chance, source


PROBES: Registry[Probe] = Registry(
    "probe", "charlm.probes", {"base", "batch", "effective_context", "runner"}
)
DOCUMENTED_SECTIONS = ("question", "protocol", "unit", "chance", "source")


def register_probe(name: str) -> Callable[[Any], Any]:
    """Registers a function of a Reading under this name."""

    def put(measure: Any) -> Any:
        PROBES.register(name)(
            Probe(
                name,
                measure,
                None,
                "",
                docstring_sections(measure.__doc__ or "", DOCUMENTED_SECTIONS),
            )
        )
        return measure

    return put


def register_group_probe(name: str, of: str) -> Callable[[Any], Any]:
    """Registers a function of what the probe `of` kept of each run of a group."""

    def put(compare: Any) -> Any:
        PROBES.register(name)(
            Probe(
                name,
                None,
                compare,
                of,
                docstring_sections(compare.__doc__ or "", DOCUMENTED_SECTIONS),
            )
        )
        return compare

    return put
