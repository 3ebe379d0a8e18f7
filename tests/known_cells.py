"""Cells whose memory is known exactly, and contexts of models made of them."""

import numpy as np
import pytest
import torch
from torch import Tensor, cat, nn

from charlm.cells.base import Cell, State
from charlm.cells.linear_cell import LinearCell
from charlm.config import validate_config
from charlm.data.vocabulary import Vocabulary
from charlm.models.char_lm import CharLM
from charlm.probes.base import ProbeContext
from charlm.results.probes import Curve, ProbeResult, ScalarResult

VOCABULARY = Vocabulary("chars", tuple(map(ord, "abcdefg")))
RETENTION, HIDDEN_SIZE = 0.95, 16


class Leaky(LinearCell):
    """h' = 0.95 h + W x: after d more characters exactly 0.95^d of a character is left."""

    retained = RETENTION

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)

    def coefficients(self, Wx: Tensor) -> tuple[Tensor, Tensor]:
        return 0 * Wx + self.retained, Wx


class Perfect(Leaky):
    """h' = h + W x: it never forgets."""

    retained = 1.0


class LeakyReadout(Leaky):
    """A leaky sum whose output is only read from its state, without declaring it."""

    states = ("h", "s")

    def step(self, Wx: Tensor, state: State) -> State:
        s = RETENTION * state[1] + Wx
        return 2 * s, s


class Delay(Cell):
    """Holds one number of each of the last H characters, and nothing of those before."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 1)

    def step(self, Wx: Tensor, state: State) -> State:
        return (cat((Wx, state[0][:, :-1]), dim=-1),)


def model_of(
    kind: type[Cell], monkeypatch: pytest.MonkeyPatch, kernel: str = "loop", conv: int = 0
) -> CharLM:
    monkeypatch.setattr("charlm.models.recurrent.get_cell", lambda name: kind)
    torch.manual_seed(0)
    config = validate_config({"hidden_size": HIDDEN_SIZE, "embedding_dim": 5, "conv": conv})
    return CharLM(config, VOCABULARY.size, kernel).eval()


def random_context(
    model: CharLM, untrained: CharLM | None = None, length: int = 4096
) -> ProbeContext:
    """The model on random characters."""
    ids = np.random.default_rng(0).integers(0, 7, length)
    return ProbeContext(
        model=model,
        ids=ids,
        vocabulary=VOCABULARY,
        train_ids=ids,
        unit_edges=np.arange(5) * length // 4,
        char_lm=model,
        make_untrained_model=lambda: model if untrained is None else untrained,
    )


def curve(result: ProbeResult, name: str) -> Curve:
    (match,) = [curve for curve in result.curves if curve.name == name]
    return match


def number(result: ProbeResult, name: str) -> ScalarResult:
    (match,) = [number for number in result.numbers if number.name == name]
    return match
