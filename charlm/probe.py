"""What a probe is: one question about a trained model, asked of a text, answered in numbers."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charlm.alphabet import Vocabulary, TokenIds
from charlm.encoder import ProgressCallback
from charlm.evaluate import TOKENS_PER_FORWARD, token_nll
from charlm.model import CharLM
from charlm.reader import LanguageModel as LanguageModel
from charlm.reader import iter_logits
from charlm.registry import Registry, docstring_sections


def no_progress(symbols: int) -> None:
    """No progress is shown."""


@dataclass(frozen=True, kw_only=True)
class ProbeContext:
    """A model in front of a text."""

    model: LanguageModel
    ids: TokenIds  # (length,), the text that is asked about, as the model knows it: unseen is the escape
    vocabulary: Vocabulary
    train_ids: TokenIds  # the training split, likewise: other text, and what counts may be learnt from
    seed: int = 0  # of every choice that a probe makes
    tick: ProgressCallback = no_progress  # told how many symbols were read
    # For those that look inside; a fake has none.
    char_lm: CharLM | None = None
    make_untrained_model: Callable[[], CharLM] | None = None  # the same model before its first update

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


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a figure: one y for each x; None where there is none, as too few were counted."""

    name: str = ""
    x: Sequence[float]
    y: Sequence[float | None]
    error: Sequence[float | None] | None = None  # the standard error of each
    count: Sequence[int] | None = None  # events behind each


class ScalarResult(msgspec.Struct, frozen=True, kw_only=True):
    """A single figure, with its interval if it has one; value None: beyond what was looked at."""

    name: str
    value: float | None
    unit: str
    low: float | None = None
    high: float | None = None
    note: str = ""  # such as "more than 4,096"
    run: str = ""  # whose it is, where a group's probe found it


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True):
    """A probe's answer for one run (or, of a group's probe, for all of them): a figure, or more."""

    title: str = ""  # where there are more
    x: str  # what the axes show, with units
    y: str
    log_x: bool = True
    log_y: bool = False
    chance: float | None = None  # on the y axis: what memory of nothing would give
    curves: Sequence[Curve] = ()  # all in one figure
    panels: Sequence["ProbeResult"] = ()  # figures of the same answer with other axes or curves
    numbers: Sequence[ScalarResult] = ()
    notes: Sequence[str] = ()  # what a reader must know to read the figure rightly
    # What a group's probe needs of each run, by name; kept in a file beside, never shown.
    artifacts: dict[str, Tensor] = {}


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


PROBES: Registry[Probe] = Registry("probe")
DOCUMENTED_SECTIONS = ("question", "protocol", "unit", "chance", "source")


def register_probe(name: str) -> Callable[[Any], Any]:
    """Registers a function of a Reading under this name."""

    def put(measure: Any) -> Any:
        PROBES.register(name)(Probe(name, measure, None, "", docstring_sections(measure.__doc__ or "", DOCUMENTED_SECTIONS)))
        return measure

    return put


def register_group_probe(name: str, of: str) -> Callable[[Any], Any]:
    """Registers a function of what the probe `of` kept of each run of a group."""

    def put(compare: Any) -> Any:
        PROBES.register(name)(Probe(name, None, compare, of, docstring_sections(compare.__doc__ or "", DOCUMENTED_SECTIONS)))
        return compare

    return put
