"""Context truncation, replacement and shuffle, on models whose memory is known exactly."""

import dataclasses
import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from conftest import TINY, prose
from known_memory import (
    FakeModel,
    State,
    bits_step_by_step,
    context_with_memory,
    curve_values,
    cyclic_text,
    make_context,
    text_of_names,
    token_back,
    vocabulary_of,
)
from numpy.testing import assert_allclose
from torch import Tensor

from charlm.cells.names import CELL_NAMES
from charlm.config import validate_config
from charlm.data.vocabulary import ids_to_text, vocabulary_mask
from charlm.evaluation import streaming
from charlm.models.build import build_char_lm, select_kernel
from charlm.models.char_lm import CharLM
from charlm.probes.base import ProbeContext, ProbeNotApplicableError, ProbeOutput
from charlm.probes.closing_delimiters import closing_delimiters
from charlm.probes.context_replacement import context_replacement
from charlm.probes.context_shuffle import context_shuffle, shuffle_words
from charlm.probes.context_truncation import context_truncation
from charlm.probes.effective_context import effective_context_length
from charlm.probes.verbatim_recall import verbatim_recall

AROUND_20 = range(15, 26)
CONTEXT_PROBES = [context_truncation, context_replacement, context_shuffle]
ProbeFunction = Callable[..., ProbeOutput]


@pytest.mark.parametrize("probe", CONTEXT_PROBES)
def test_context_probes_find_cliff_at_lag_20(probe: ProbeFunction) -> None:
    output = probe(context_with_memory(20), context_lengths=AROUND_20, num_positions=300)
    excess = curve_values(output) - curve_values(output)[-1]
    assert (excess[:5] > 1).all()
    assert_allclose(excess[5:], 0, atol=1e-12)
    number = output.result.numbers[0]
    assert (number.value, number.low, number.high, number.lower_bound) == (20, 20, 20, None)


@pytest.mark.parametrize("probe", CONTEXT_PROBES)
def test_context_probes_find_no_cliff_with_memory_19(probe: ProbeFunction) -> None:
    output = probe(context_with_memory(19), context_lengths=AROUND_20, num_positions=300)
    assert_allclose(curve_values(output), curve_values(output)[-1], atol=1e-12)
    assert output.result.numbers[0].value == 15  # the shortest that was tested


@pytest.mark.parametrize("probe", CONTEXT_PROBES)
def test_effective_context_may_exceed_tested_lengths(probe: ProbeFunction) -> None:
    output = probe(context_with_memory(20), context_lengths=[5, 10], num_positions=300)
    number = output.result.numbers[0]
    assert (number.value, number.high, number.lower_bound) == (None, None, 10)


def tiny_context(length: int, **settings: object) -> ProbeContext:
    """A model in float64 with large weights, so that its predictions depend on the text."""
    vocabulary = vocabulary_of(prose(3000))
    config = validate_config({**TINY, **settings})
    model = build_char_lm(config, vocabulary.size, "loop", "cpu").double().eval()
    for parameter in model.parameters():
        parameter.data *= 3
    ids, train_ids = (
        np.array(vocabulary.encode(prose(n, seed))) for n, seed in ((length, 1), (3000, 2))
    )
    return ProbeContext(model=model, ids=ids, vocabulary=vocabulary, train_ids=train_ids)


@pytest.mark.slow
def test_context_truncation_equals_its_definition() -> None:
    """A larger k is scored at a subset of the positions."""
    context = tiny_context(300, num_layers=2, block="residual")
    output = context_truncation(
        context, context_lengths=[1, 4, 16], num_positions=24, max_tokens_read=192
    )
    artifacts, (curve,) = output.artifacts, output.result.curves
    positions, bits = artifacts["positions"].tolist(), artifacts["bits"].numpy()
    assert (positions[0], positions[-1], len(positions)) == (16, 299, 24)
    assert curve.count == [24, 24, 12]
    assert np.isnan(bits[2, 1::2]).all()
    model = context.model
    assert isinstance(model, CharLM)
    full = np.array(bits_step_by_step(model, context.ids))
    assert_allclose(context.bits, full, rtol=1e-9)
    for row, k in enumerate((1, 4, 16)):
        is_scored = np.isfinite(bits[row])
        scored = np.array(positions)[is_scored]
        by_hand = [bits_step_by_step(model, context.ids[n - k : n + 1])[-1] for n in scored]
        assert_allclose(bits[row, is_scored], by_hand, rtol=1e-6)
        excess = by_hand - full[scored]
        assert curve.y[row] == pytest.approx(context.bits.mean() + excess.mean(), rel=1e-9)
        assert curve.error is not None
        standard_error = excess.std(ddof=1) / len(excess) ** 0.5
        assert curve.error[row] == pytest.approx(standard_error, rel=1e-9)
    counts = np.bincount(context.train_ids, minlength=context.vocabulary.size)
    assert output.result.chance == pytest.approx(
        -np.log2((counts / counts.sum())[context.ids]).mean(), rel=0.01
    )


@pytest.mark.parametrize("probe", [context_replacement, context_shuffle])
def test_excess_bits_do_not_depend_on_other_context_lengths(probe: ProbeFunction) -> None:
    output = probe(
        tiny_context(900), context_lengths=[1, 4, 16, 32], num_positions=48, max_tokens_read=320
    )
    assert output.result.curves[0].count == [48, 48, 12, 6]
    alone = probe(
        tiny_context(900), context_lengths=[4, 32], num_positions=48, max_tokens_read=10**6
    )
    assert alone.result.curves[0].count == [48, 48]
    assert curve_values(output)[1] == pytest.approx(curve_values(alone)[0], rel=1e-9)


SMALL = {"context_lengths": [1, 4, 16], "num_positions": 60, "max_tokens_read": 240}
SMALL_PROBES = {
    "context-truncation": partial(context_truncation, **SMALL),
    "context-replacement": partial(context_replacement, **SMALL),
    "context-shuffle": partial(context_shuffle, **SMALL),
    "verbatim-recall": partial(verbatim_recall, filler_lengths=[16, 64], num_lists=20),
    "closing-delimiters": partial(closing_delimiters, min_events=20),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SMALL_PROBES)[:4])
def test_batch_size_does_not_change_results(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = text_of_names(4000)
    vocabulary = vocabulary_of(text)
    ids = np.array(vocabulary.encode(text))
    model = build_char_lm(validate_config(TINY), vocabulary.size, "loop", "cpu").double().eval()
    context = ProbeContext(model=model, ids=ids[:900], vocabulary=vocabulary, train_ids=ids)
    usual = SMALL_PROBES[name](context)
    monkeypatch.setattr(streaming, "MAX_BATCH", 3)  # a batch may have no stream for a larger k
    monkeypatch.setattr(streaming, "TOKENS_PER_ADVANCE", 33)
    in_small_batches = SMALL_PROBES[name](context)
    assert_allclose(curve_values(in_small_batches), curve_values(usual), rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL_PROBES)
def test_kernels_give_same_results(name: str) -> None:
    fastest, _ = select_kernel(validate_config(TINY))
    assert fastest != "loop"
    text = text_of_names(4000).replace("a", "(").replace("b", ")")
    vocabulary = vocabulary_of(text)
    ids = np.array(vocabulary.encode(text))
    models = (
        build_char_lm(validate_config(TINY), vocabulary.size, kernel, "cpu").eval()
        for kernel in ("loop", fastest)
    )
    by_loop, by_fastest = (
        SMALL_PROBES[name](
            ProbeContext(model=model, ids=ids[:1000], vocabulary=vocabulary, train_ids=ids)
        )
        for model in models
    )
    assert by_loop.result.curves[0].x == by_fastest.result.curves[0].x
    assert_allclose(curve_values(by_loop), curve_values(by_fastest), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", CELL_NAMES)
def test_streams_can_be_selected_from_state_of_cell(name: str) -> None:
    config = validate_config({**TINY, "cell": name, "num_layers": 2, "block": "residual"})
    if name == "depth-gated-lstm":
        config = validate_config({**TINY, "cell": name, "num_layers": 2})
    model = build_char_lm(config, 9, "loop", "cpu").double().eval()
    ids = torch.arange(40).reshape(10, 4) % 9
    with torch.inference_mode():
        state = model.advance(ids[:5], model.initial_state(4))
        selected = streaming.select_streams(state, torch.tensor([2, 0]))
        continued = model.next_token_logits(model.advance(ids[5:, [2, 0]], selected))
        logits, _ = model(ids[:, [2, 0]], model.initial_state(2))
    assert_allclose(continued, logits[-1], rtol=1e-9)


def test_context_probes_do_not_apply_to_short_text() -> None:
    context = context_with_memory(20)
    for length, probe in itertools.product((0, 1, 255), CONTEXT_PROBES):
        short = dataclasses.replace(context, ids=context.ids[:length])
        with pytest.raises(
            ProbeNotApplicableError, match=f"the text has {length} characters, but .* are needed"
        ):
            probe(short)
    result = context_truncation(context, num_positions=10).result
    assert result.curves[0].x[-1] == 768
    assert result.notes == ["context up to 768 only: the text has 2,000 characters"]


def test_context_shuffle_does_not_apply_without_spaces() -> None:
    text = cyclic_text(0).replace(" ", "x")
    with pytest.raises(ProbeNotApplicableError, match="^0 of 464 positions follow two words"):
        context_shuffle(make_context((20, partial(token_back, 20)), text, text), num_positions=464)


def test_context_shuffle_leaves_out_positions_without_two_words() -> None:
    """The second half of the text is one word: only positions in the first half are scored."""
    text = cyclic_text(0) + "x" * 2000
    context = make_context((600, partial(token_back, 20)), text, text)
    result = context_shuffle(context, context_lengths=[2, 4], num_positions=1000).result
    positions = np.linspace(512, 3995, 1000).astype(int)
    usable = sum(len(text[position - 512 : position].split()) > 1 for position in positions)
    assert 500 < usable < 600 and result.curves[0].count == [usable, usable]
    assert result.notes == [
        f"{1000 - usable} of 1,000 positions left out: "
        "fewer than two words in the 512 characters before"
    ]
    with pytest.raises(ProbeNotApplicableError, match="^1.. of 250 positions follow two words"):
        context_shuffle(context, context_lengths=[2, 4], num_positions=250)


def test_context_replacement_does_not_apply_to_short_training_text() -> None:
    short = make_context((20, partial(token_back, 20)), cyclic_text(0), cyclic_text(1)[:255])
    with pytest.raises(
        ProbeNotApplicableError, match="the training text has 255 characters, but 256 are"
    ):
        context_replacement(short)


def test_context_shuffle_shuffles_last_512_characters_only() -> None:
    """A model that looks 600 back sees past them; only these 512 are in another order."""
    context = make_context((600, partial(token_back, 600)), cyclic_text(0), cyclic_text(1))
    shuffled_texts = []

    class RecordingModel(FakeModel):
        def advance(self, ids: Tensor, state: State) -> State:
            shuffled_texts.extend(ids.T.numpy() if len(ids) == 512 else [])
            return super().advance(ids, state)

    model = RecordingModel(context.vocabulary.size, 600, partial(token_back, 600))
    context = dataclasses.replace(context, model=model)
    output = context_shuffle(context, context_lengths=AROUND_20, num_positions=30)
    assert_allclose(curve_values(output), 0, atol=1e-12)
    starts = np.linspace(512, 2000 - 25 - 1, 30).astype(int)
    for start, shuffled in zip(starts, shuffled_texts, strict=True):
        original = context.ids[start - 512 : start]
        assert sorted(shuffled) == sorted(original) and (shuffled != original).any()


@pytest.mark.slow
def test_context_shuffle_keeps_text_before_shuffled_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charlm.probes.context_shuffle.SHUFFLED_LENGTH", 8)
    monkeypatch.setattr(
        "charlm.probes.context_shuffle.shuffle_words", lambda text, *_: text[::-1].copy()
    )
    context = tiny_context(300)
    output = context_shuffle(context, context_lengths=[2, 4], num_positions=10)
    excess = []
    for start in np.linspace(8, 295, 10).astype(int):
        backwards = context.ids[start - 8 : start][::-1]
        text = np.concatenate((context.ids[: start - 8], backwards, context.ids[start : start + 3]))
        excess.append(bits_step_by_step(context.model, text)[-1] - context.bits[start + 2])
    assert curve_values(output)[0] == pytest.approx(np.mean(excess), rel=1e-9)


def test_shuffle_words_keeps_words() -> None:
    vocabulary = vocabulary_of("abcdefgh \n")
    is_space = vocabulary_mask(vocabulary, str.isspace)
    text = "ab cde \n f\ngh  a b c d e f g h"
    ids = np.array(vocabulary.encode(text))
    shuffled = ids_to_text(shuffle_words(ids, is_space, np.random.default_rng(0)), vocabulary)
    assert shuffled != text and sorted(shuffled) == sorted(text)
    assert all(word in shuffled for word in ("ab ", "cde \n ", "f\n", "gh  "))


def test_effective_context_is_within_one_percent_with_block_interval() -> None:
    """1 % of 5 bits is 0.05. The third k is within it on the whole, but not in all blocks."""
    context = context_with_memory(20)
    context.__dict__["bits"] = np.full(2000, 5.0)
    context_lengths = [1, 2, 4, 8]
    excess = np.zeros((4, 640))
    excess[0], excess[1, :320] = 1.0, 0.2
    excess[2, ::7] = 0.34
    assert excess[1].mean() == pytest.approx(0.1) and 0.048 < excess[2].mean() < 0.05
    number = effective_context_length("length", context, context_lengths, excess)
    assert (number.value, number.low, number.high) == (4, 4, 8)
    excess[2, 320:] = np.nan  # positions that are not scored do not count
    assert effective_context_length("length", context, context_lengths, excess).value == 4
    excess[3] = 0.06
    number = effective_context_length("length", context, context_lengths, excess + 0.01)
    assert (number.value, number.low, number.high) == (None, None, None)
    assert number.lower_bound == 8
