"""Probes of models whose state is reset at documents."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from known_cells import VOCABULARY, random_context
from known_memory import FakeModel, cyclic_text, make_context, token_back
from numpy.testing import assert_allclose

from charlm.config import validate_config
from charlm.evaluation.scoring import iter_token_nll
from charlm.models.char_lm import CharLM
from charlm.probes.base import ProbeContext, ProbeNotApplicableError
from charlm.probes.context_replacement import (
    context_replacement,
    draw_places,
    foreign_positions,
)
from charlm.probes.places import continuous_starts, evenly_spaced_starts, starts_with_room
from charlm.probes.position import position
from charlm.probes.readout import readout
from charlm.results.probe_limits import PlacesTooClose, TextTooShort, TooFewPlaces

LENGTH = 1500


def marks_at(*positions: int, length: int = LENGTH) -> np.ndarray:
    marks = np.zeros(length, bool)
    marks[list(positions)] = True
    return marks


def lm_context(starts: np.ndarray | None) -> ProbeContext:
    torch.manual_seed(0)
    config = validate_config({"cell": "gru", "hidden_size": 6, "embedding_dim": 4})
    model = CharLM(config, VOCABULARY.size).eval()
    return dataclasses.replace(random_context(model, length=LENGTH), starts=starts)


def test_true_context_starts_afresh_at_each_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """In several streams, at a grid point, within a grid, in the warm-up, and one after another."""
    monkeypatch.setattr("charlm.probes.true_context.WARMUP", 256)
    starts = marks_at(0, 64, 100, 101, 500, 640, 1030, 1400)
    context = lm_context(starts)
    assert context.true_context.num_streams == 5 and isinstance(context.model, CharLM)
    with torch.inference_mode():
        bits = context.true_context.bits
    ids = np.asarray(context.ids)[:, None]
    nats = torch.cat(list(iter_token_nll(context.model, ids, VOCABULARY, starts=starts[:, None])))
    assert_allclose(bits[:320], nats[:320, 0].numpy() / np.log(2), rtol=1e-6)
    assert_allclose(bits[500:900], nats[500:900, 0].numpy() / np.log(2), rtol=1e-6)
    with torch.inference_mode():
        carried = lm_context(None).true_context.bits
    assert abs(carried - bits)[[64, 100, 500]].min() > 1e-4


def test_states_are_those_of_the_document_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charlm.probes.true_context.WARMUP", 256)
    context = make_context((20, partial(token_back, 20)), cyclic_text(0)[:LENGTH], "a")
    context = dataclasses.replace(context, starts=marks_at(64, 100, 700, 705))
    positions = np.array([0, 1, 63, 64, 65, 99, 100, 130, 699, 700, 704, 710, 1499])
    begins = continuous_starts(context)
    ((history,),) = context.true_context.states_before(positions)
    for at, read in zip(positions, history, strict=True):
        known = context.ids[max(begins[at], at - 20) : at]
        assert read.tolist() == [-1] * (20 - len(known)) + known.tolist()


def test_places_have_their_room_in_one_document() -> None:
    context = lm_context(marks_at(0, 400, 1000))
    assert continuous_starts(context)[[0, 399, 400, 999, 1000, 1500]].tolist() == [
        *(0, 0, 400, 400, 1000, 1000)
    ]
    room = starts_with_room(context, 300, 50)
    assert room.tolist() == [*range(300, 350), *range(700, 950), *range(1300, 1450)]
    chosen = evenly_spaced_starts(context, 0, LENGTH, 5, 300, 50)
    assert len(chosen) == 5 and np.isin(chosen, room).all()
    with pytest.raises(ProbeNotApplicableError) as error:
        evenly_spaced_starts(context, 0, LENGTH, 5, 590, 8)
    assert error.value.reason == TooFewPlaces(2, 3)


def documents_of(length: int) -> ProbeContext:
    """It expects the character 20 back, in documents of this length where that is always right."""
    text = cyclic_text(0, 400)
    context = make_context((20, partial(token_back, 20)), text, "a")
    starts = np.arange(len(text)) % length == 0
    return dataclasses.replace(context, starts=starts, window=32)


def among_short_documents(*lengths: int) -> ProbeContext:
    """It has documents of these lengths amid 400 of 200 characters."""
    edges = np.cumsum([*[200] * 200, *lengths, *[200] * 200])
    context = make_context((20, partial(token_back, 20)), cyclic_text(0, edges[-1] // 20), "a")
    return dataclasses.replace(context, starts=marks_at(0, *edges[:-1], length=edges[-1]))


def test_long_streams_are_within_a_document() -> None:
    result = position(documents_of(1100)).result
    assert result.curves[0].x[-1] == 512  # 16 windows: twice as many are in a document
    assert result.curves[0].y[-1] == pytest.approx(0, abs=1e-6)
    with pytest.raises(ProbeNotApplicableError) as error:
        position(documents_of(200))
    assert error.value.reason == TextTooShort("document", 200, 256)


def test_memory_of_a_document_is_lost_where_another_text_precedes_it() -> None:
    """The model knows the 20 characters before, so 16 true ones are too few and 64 enough."""
    result = context_replacement(documents_of(1100)).result
    lost = dict(zip(result.curves[0].x, result.curves[0].y, strict=True))
    assert lost[64] == pytest.approx(0) and lost[16] is not None and lost[16] > 1
    with pytest.raises(ProbeNotApplicableError):
        context_replacement(documents_of(200))


@pytest.mark.parametrize("long_documents", [(20_000,), (4_000,), (1_000, 1_000, 1_000)])
def test_other_text_is_never_the_true_one(long_documents: tuple[int, ...]) -> None:
    """Among short documents, few places have 256 characters before them, and some are near."""
    context = among_short_documents(*long_documents)
    start, _ = draw_places(context, (16, 64), (340, 340))
    foreign = foreign_positions(context, start)
    assert np.abs(foreign - start).min() >= 512
    assert (foreign - continuous_starts(context)[foreign] >= 256).all()
    assert len(np.unique(foreign)) > 10


def test_replacement_needs_other_text_far_away() -> None:
    with pytest.raises(ProbeNotApplicableError) as error:
        context_replacement(among_short_documents(1_000))
    assert error.value.reason == TooFewPlaces(0, 128)


def test_readout_looks_for_characters_of_the_same_document() -> None:
    assert isinstance(documents_of(600).model, FakeModel)
    result = readout(documents_of(600), distances=(1, 20), num_places=600).result
    assert result.curves[0].y[1] == pytest.approx(result.ceiling, rel=0.1)
    with pytest.raises(ProbeNotApplicableError):
        readout(documents_of(15), distances=(1, 20), num_places=600)


@pytest.mark.parametrize("begin", [2_502, 3_127])
def test_readout_needs_places_in_both_halves(begin: int) -> None:
    """The only document with room is in one of 64 blocks of 625: to stop by, or to score."""
    context = make_context((20, partial(token_back, 20)), cyclic_text(0, 2_000), "a")
    starts = np.arange(len(context.ids)) % 15 == 0
    starts[begin : begin + 611] = False
    starts[[begin, begin + 610]] = True
    with pytest.raises(ProbeNotApplicableError) as error:
        readout(dataclasses.replace(context, starts=starts), distances=(1, 20), num_places=600)
    assert error.value.reason == PlacesTooClose(0, 64)
