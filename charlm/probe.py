"""What a probe is: one question about a trained model, asked of a text, answered in numbers."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import msgspec
from torch import Tensor

from charlm.alphabet import Alphabet, Ids
from charlm.encoder import Tick
from charlm.model import CharLM, ModelState
from charlm.registry import Registry


class Reader(Protocol):
    """All that most probes see of a model; so a fake whose memory is known tests them honestly.

    A state is a tuple of tuples of tensors, each (batch, ...): streams can be picked from it.
    """

    def start(self, batch: int) -> ModelState:
        """The state before the first character of each of `batch` streams."""
        ...

    def expect(self, state: ModelState) -> Tensor:
        """Logits of the character that follows this state, (batch, symbols)."""
        ...

    def __call__(self, ids: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """ids (time, batch), state before -> logits (time, batch, symbols), state after."""
        ...


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


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A probe's answer for one run (or, of a group's probe, for all of them)."""

    x: str  # what the axes show, with units
    y: str
    log_x: bool = True
    log_y: bool = False
    chance: float | None = None  # on the y axis: what memory of nothing would give
    curves: Sequence[Curve] = ()
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


def told(doc: str) -> dict[str, str]:
    """The five paragraphs of a probe's docstring, each begun by its name and a colon."""
    found = {}
    for name in TOLD:
        said = re.search(rf"^\s*{name.capitalize()}: (.+?)(?=\n\s*\n|\Z)", doc, re.M | re.S)
        assert said, f"a probe's docstring must say its {name}"
        found[name] = " ".join(said[1].split())
    return found


def probe(name: str) -> Callable[[Any], Any]:
    """Registers a function of a Reading under this name."""

    def put(measure: Any) -> Any:
        PROBES.add(name)(Probe(name, measure, None, "", told(measure.__doc__ or "")))
        return measure

    return put


def group_probe(name: str, of: str) -> Callable[[Any], Any]:
    """Registers a function of what the probe `of` kept of each run of a group."""

    def put(compare: Any) -> Any:
        PROBES.add(name)(Probe(name, None, compare, of, told(compare.__doc__ or "")))
        return compare

    return put
