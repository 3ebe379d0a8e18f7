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

from charlm.alphabet import Alphabet, Ids
from charlm.encoder import Tick
from charlm.evaluate import CALL, nats
from charlm.model import CharLM
from charlm.reader import Reader as Reader
from charlm.reader import expected
from charlm.registry import Registry, paragraphs


def silent(symbols: int) -> None:
    """No progress is shown."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A model in front of a text."""

    reader: Reader
    ids: Ids  # (length,), the text that is asked about, as the model knows it: unseen is the escape
    alphabet: Alphabet
    elsewhere: Ids  # the training split, likewise: other text, and what counts may be learnt from
    seed: int = 0  # of every choice that a probe makes
    tick: Tick = silent  # told how many symbols were read
    # For those that look inside; a fake has none.
    model: CharLM | None = None
    fresh: Callable[[], CharLM] | None = None  # the same model before its first update

    @cached_property
    def bits(self) -> NDArray[np.float64]:
        """What each symbol costs with full context, (length,): read in one stream, state carried.

        Naming an unseen character after its escape is not counted: no memory would help.
        """
        with torch.inference_mode():
            found = [nats(logits, ids).cpu() for ids, logits in self.one_stream()]
        return torch.cat(found)[:, 0].numpy() / math.log(2)

    def one_stream(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The text in pieces, read in one stream: ids (time, 1), and their logits."""
        pieces = torch.from_numpy(np.asarray(self.ids, np.int64))[:, None].split(CALL)
        for ids, logits in expected(self.reader, pieces, self.reader.start(1)):
            yield ids, logits
            self.tick(len(ids))


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a figure: one y for each x; None where there is none, as too few were counted."""

    name: str = ""
    x: Sequence[float]
    y: Sequence[float | None]
    error: Sequence[float | None] | None = None  # the standard error of each
    count: Sequence[int] | None = None  # events behind each


class Number(msgspec.Struct, frozen=True, kw_only=True):
    """A single figure, with its interval if it has one; value None: beyond what was looked at."""

    name: str
    value: float | None
    unit: str
    low: float | None = None
    high: float | None = None
    note: str = ""  # such as "more than 4,096"
    run: str = ""  # whose it is, where a group's probe found it


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A probe's answer for one run (or, of a group's probe, for all of them): a figure, or more."""

    title: str = ""  # where there are more
    x: str  # what the axes show, with units
    y: str
    log_x: bool = True
    log_y: bool = False
    chance: float | None = None  # on the y axis: what memory of nothing would give
    curves: Sequence[Curve] = ()  # all in one figure
    more: Sequence["Found"] = ()  # figures of the same answer with other axes or curves
    numbers: Sequence[Number] = ()
    notes: Sequence[str] = ()  # what a reader must know to read the figure rightly
    # What a group's probe needs of each run, by name; kept in a file beside, never shown.
    kept: dict[str, Tensor] = {}


class NotMeasurable(Exception):
    """The question cannot be asked of this run or text; says why, in half a sentence."""


Measure = Callable[[Reading], Found]
# {run's name: what the probe named in `of` kept of it} -> one answer for the group.
Compare = Callable[[dict[str, dict[str, Tensor]]], Found]


class Probe(NamedTuple):
    name: str
    measure: Measure | None  # of one run
    compare: Compare | None  # of a group of runs, from what the probe `of` kept of each
    of: str
    told: dict[str, str]  # its docstring: question, protocol, unit, chance, source


PROBES: Registry[Probe] = Registry("probe")
TOLD = ("question", "protocol", "unit", "chance", "source")


def probe(name: str) -> Callable[[Any], Any]:
    """Registers a function of a Reading under this name."""

    def put(measure: Any) -> Any:
        PROBES.add(name)(Probe(name, measure, None, "", paragraphs(measure.__doc__ or "", TOLD)))
        return measure

    return put


def group_probe(name: str, of: str) -> Callable[[Any], Any]:
    """Registers a function of what the probe `of` kept of each run of a group."""

    def put(compare: Any) -> Any:
        PROBES.add(name)(Probe(name, None, compare, of, paragraphs(compare.__doc__ or "", TOLD)))
        return compare

    return put
