"""Context replacement and shuffle, on models whose memory is known exactly."""

import dataclasses
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
    curve_values,
    cyclic_text,
    make_context,
    text_of_names,
    text_with_repeated_words,
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
from charlm.probes import context_replacement as replacement_module
from charlm.probes.base import ProbeContext, ProbeNotApplicableError, ProbeOutput
from charlm.probes.closing_delimiters import closing_delimiters
from charlm.probes.context_replacement import context_replacement, draw_places, foreign_positions
from charlm.probes.context_shuffle import context_shuffle, shuffle_words
from charlm.probes.repeated_words import repeated_words
from charlm.probes.verbatim_recall import verbatim_recall
from charlm.probes.windows import token_bits
from charlm.results.probe_limits import (
    NoPlaces,
    PlacesLeftOut,
    TextTooShort,
    TooFewPlaces,
    TooFewWords,
)

ProbeFunction = Callable[..., ProbeOutput]
AROUND_20 = (16, 18, 19, 20, 24)
REPEATED = text_with_repeated_words([69, 121], 32)
CYCLES = "".join(cyclic_text(seed, 40) for seed in range(8))  # foreign text is from another one


def replaced(memory: int, text: str = CYCLES, **options: object) -> ProbeOutput:
    """Replacement with a model that expects the character 20 back, which is mostly right."""
    context = make_context((memory, partial(token_back, 20)), text, cyclic_text(9))
    options = {"context_lengths": AROUND_20, "num_places": (300,) * 5, **options}
    return context_replacement(context, **options)  # type: ignore[arg-type]


def test_replacement_finds_memory_of_exactly_20_characters() -> None:
    lost = curve_values(replaced(20))
    assert (lost[:3] > 1).all() and lost[3:].tolist() == [0, 0]


def test_loss_beyond_64_characters_is_part_of_the_memory_profile() -> None:
    """Its ceiling is what the model gains from context: here, all of a character's entropy."""
    context = make_context((100, partial(token_back, 100)), CYCLES, cyclic_text(9))
    result = context_replacement(context, context_lengths=(16, 64), num_places=(300, 300)).result
    assert result.profile is not None and result.profile.aspect == "uses"
    assert result.profile.value == result.numbers[1].value > 1
    frequencies = np.bincount(context.ids) / len(context.ids)
    entropy = -(frequencies[frequencies > 0] * np.log2(frequencies[frequencies > 0])).sum()
    gain = entropy - context.true_context.bits.mean()
    assert result.profile.ceiling == pytest.approx(gain)
    assert replaced(20).result.profile is None  # 64 is not among its lengths


def test_model_without_memory_loses_exactly_nothing() -> None:
    assert curve_values(replaced(15)).tolist() == [0] * 5
    context = make_context((1, partial(token_back, 1)), CYCLES, cyclic_text(9))
    assert set(curve_values(context_shuffle(context))) == {0}


def test_artifacts_are_sums_over_units_of_the_same_places() -> None:
    output = replaced(20)
    lengths, sums, counts = (output.artifacts[name] for name in ("lengths", "sums", "counts"))
    assert lengths.tolist() == list(AROUND_20) and sums.shape == counts.shape == (5, 5)
    assert sums.dtype == counts.dtype == torch.float64
    assert (counts.sum(1) == 300).all() and counts.min() > 45  # spread over the text
    assert_allclose(sums.sum(1) / counts.sum(1), curve_values(output), rtol=1e-12)
    without = replaced(19).artifacts
    assert (without["counts"] == counts).all()


def test_error_over_units_is_that_of_a_ratio() -> None:
    output = replaced(20)
    sums, counts = (output.artifacts[name][0].numpy() for name in ("sums", "counts"))
    mean = sums.sum() / counts.sum()
    error = (5 / 4 * ((sums - mean * counts) ** 2).sum()) ** 0.5 / counts.sum()
    assert output.result.curves[0].error is not None
    assert output.result.curves[0].error[0] == pytest.approx(error, rel=1e-12)
    number = output.result.numbers[0]
    assert number.high is not None and number.high - mean == pytest.approx(1.96 * error)


def test_places_do_not_depend_on_the_model_but_on_text_and_seed() -> None:
    first, other = (
        make_context((memory, partial(token_back, 20)), CYCLES, "a") for memory in (5, 20)
    )
    lengths, counts = (16, 64, 256), (200, 200, 50)
    start, is_scored = draw_places(first, lengths, counts)
    assert (draw_places(other, lengths, counts)[0] == start).all()
    assert (foreign_positions(first, start) == foreign_positions(other, start)).all()
    for changed in (
        dataclasses.replace(first, seed=1),
        make_context((5, partial(token_back, 20)), CYCLES[::-1], "a"),
    ):
        assert (draw_places(changed, lengths, counts)[0] != start).any()
    assert is_scored.sum(1).tolist() == [200, 200, 50]
    assert (is_scored[1:] <= is_scored[:-1]).all()  # nested


def test_places_and_their_true_context_are_in_one_file() -> None:
    edges = np.array([0, 300, 1500, 1550, 3000, 6400])
    context = dataclasses.replace(
        make_context((20, partial(token_back, 20)), CYCLES, "a"),
        unit_edges=edges,
        unit_kind="file",
    )
    start, is_scored = draw_places(context, (16, 64, 1024), (1000, 1000, 500))
    for k, scored in zip((64, 64, 1024), is_scored, strict=True):
        begin, end = (np.searchsorted(edges, at, "right") for at in (start - 256, start + k))
        assert (begin == end)[scored].all()
    sums = context_replacement(context).artifacts["counts"].sum(0).numpy()
    assert (sums > 0).tolist() == [False, True, False, True, True]


def test_foreign_text_is_far_away() -> None:
    context = make_context((20, partial(token_back, 20)), CYCLES, "a")
    start = np.arange(300, 6000)
    distance = np.abs(foreign_positions(context, start) - start)
    assert np.minimum(distance, 6400 - 256 - distance).min() > 6400 / 4 - 256 - 64


def test_length_without_place_has_no_number() -> None:
    """Files of 800 characters have none for 1,024."""
    context = dataclasses.replace(
        make_context((20, partial(token_back, 20)), CYCLES, "a", units=8), unit_kind="file"
    )
    result = context_replacement(context).result
    count = result.curves[0].count
    assert result.curves[0].y[-1] is None and count is not None and count[-1] == 0 < count[-2]
    assert result.notes == [NoPlaces((1024,))]
    assert [number.name for number in result.numbers] == [f"lost beyond {k}" for k in (16, 64, 256)]


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
    edges = np.arange(5) * length // 4
    return ProbeContext(
        model=model, ids=ids, vocabulary=vocabulary, train_ids=train_ids, unit_edges=edges
    )


def test_true_context_costs_are_those_of_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a warm-up as long as the text; a stream begins at a grid point, the text ends within."""
    monkeypatch.setattr("charlm.probes.true_context.WARMUP", 256)
    context = tiny_context(600)
    assert context.true_context.num_streams == 2
    assert isinstance(context.model, CharLM)
    with torch.inference_mode():
        bits = context.true_context.bits
    assert bits.shape == (600,)
    stream = np.array(bits_step_by_step(context.model, context.ids))
    assert_allclose(bits[:320], stream[:320], rtol=1e-9)
    assert_allclose(bits[320:], stream[320:], rtol=1e-3)  # read from 64 on


def test_states_are_those_after_the_text_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charlm.probes.true_context.WARMUP", 256)
    context = make_context((20, partial(token_back, 20)), CYCLES[:1500], "a")
    positions = np.array([0, 1, 63, 64, 65, 700, 1499])
    ((history,),) = context.true_context.states_before(positions)
    for position, read in zip(positions, history, strict=True):
        known = context.ids[max(0, position - 20) : position]
        assert read.tolist() == [-1] * (20 - len(known)) + known.tolist()


@pytest.mark.parametrize("probe", [context_replacement, context_shuffle, repeated_words])
def test_number_of_tokens_is_announced_exactly(probe: ProbeFunction) -> None:
    counts = {"expected": 0, "read": 0}
    context = make_context((20, partial(token_back, 20)), REPEATED, "a b c")

    def add(name: str, number: int) -> None:
        counts[name] += number

    context = dataclasses.replace(
        context, expect=partial(add, "expected"), tick=partial(add, "read")
    )
    probe(context)
    assert counts["expected"] == counts["read"] > 0


def test_replacement_equals_its_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    """The foreign text is all that the true pass has read up to a place elsewhere."""
    monkeypatch.setattr(replacement_module, "MIN_PLACES", 4)
    monkeypatch.setattr(replacement_module, "MIN_LENGTH", 500)
    context = tiny_context(500, num_layers=2, block="residual")
    lengths, counts = (2, 6), (4, 2)
    output = context_replacement(context, lengths, counts)
    start, is_scored = draw_places(context, lengths, counts)
    foreign = foreign_positions(context, start)
    model = context.model
    assert isinstance(model, CharLM)
    true_bits = np.array(bits_step_by_step(model, context.ids))
    for row, k in enumerate(lengths):
        lost = []
        for at, other in zip(start[is_scored[row]], foreign[is_scored[row]], strict=True):
            text = np.concatenate((context.ids[:other], context.ids[at : at + k + 1]))
            read = torch.from_numpy(text[:-1])[:, None]
            with torch.inference_mode():
                logits, _ = model(read, model.initial_state(1))
            (bits,) = token_bits(logits[-1], torch.tensor([text[-1]]))
            lost.append(bits - true_bits[at + k])
        assert curve_values(output)[row] == pytest.approx(np.mean(lost), abs=1e-6)


SMALL_PROBES = {
    "context-replacement": partial(
        context_replacement, context_lengths=(4, 16), num_places=(150, 140)
    ),
    "context-shuffle": partial(context_shuffle, context_lengths=(1, 4, 16), num_places=90),
    "repeated-words": partial(repeated_words, min_events=3),
    "verbatim-recall": partial(verbatim_recall, filler_lengths=[16, 64], num_lists=20),
    "closing-delimiters": partial(closing_delimiters, min_events=20),
}


def context_of_names(kernel: str, dtype: torch.dtype) -> ProbeContext:
    """A tiny model on names, some of which come again; a few letters are brackets."""
    names = text_of_names(2000)
    text = names[:1000].replace("a", "(").replace("b", ")") + REPEATED
    vocabulary = vocabulary_of(names + text)
    ids = np.array(vocabulary.encode(text))
    train_ids = np.array(vocabulary.encode(names))
    model = build_char_lm(validate_config(TINY), vocabulary.size, kernel, "cpu").to(dtype).eval()
    edges = np.arange(5) * len(text) // 4
    return ProbeContext(
        model=model, ids=ids, vocabulary=vocabulary, train_ids=train_ids, unit_edges=edges
    )


@pytest.mark.parametrize("name", SMALL_PROBES)
def test_batch_size_does_not_change_results(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = SMALL_PROBES[name](context_of_names("loop", torch.float64))
    monkeypatch.setattr(streaming, "MAX_BATCH", 37)  # a batch may have no stream for a larger k
    monkeypatch.setattr(streaming, "TOKENS_PER_ADVANCE", 300)
    in_small_batches = SMALL_PROBES[name](context_of_names("loop", torch.float64))
    assert_allclose(curve_values(in_small_batches), curve_values(usual), rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL_PROBES)
def test_kernels_give_same_results(name: str) -> None:
    fastest, _ = select_kernel(validate_config(TINY))
    assert fastest != "loop"
    by_loop, by_fastest = (
        SMALL_PROBES[name](context_of_names(kernel, torch.float32)) for kernel in ("loop", fastest)
    )
    assert by_loop.result.curves[0].x == by_fastest.result.curves[0].x
    assert_allclose(curve_values(by_loop), curve_values(by_fastest), rtol=1e-3, atol=1e-6)


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


def reason_of(probe: ProbeFunction, context: ProbeContext) -> object:
    with pytest.raises(ProbeNotApplicableError) as error:
        probe(context)
    return error.value.reason


def test_probes_do_not_apply_to_short_text() -> None:
    context = make_context((20, partial(token_back, 20)), CYCLES, "a")
    for length in (0, 1, 700):
        short = dataclasses.replace(context, ids=context.ids[:length])
        assert reason_of(context_replacement, short) == TextTooShort("probed", length, 2048)
        assert reason_of(context_shuffle, short) == TextTooShort("probed", length, 757)
    in_files = dataclasses.replace(
        context, unit_kind="file", unit_edges=np.arange(0, len(CYCLES) + 1, 200)
    )
    assert reason_of(context_replacement, in_files) == TooFewPlaces(0, 128)


def test_shuffle_finds_how_far_back_order_matters() -> None:
    """The model expects the character 20 back: up to 20 true ones, their order matters."""
    output = context_shuffle(make_context((20, partial(token_back, 20)), CYCLES, "a"))
    lost = dict(zip(output.result.curves[0].x, output.result.curves[0].y, strict=True))
    # The characters from 12 to 22 after a shuffled passage count as 16.
    assert lost[8] is not None and lost[8] > 1 and lost[16] is not None and lost[16] > 0.5
    assert [lost[k] for k in (32, 64, 128)] == [0, 0, 0]
    (number,) = output.result.numbers
    assert number.value is not None and 16 < number.value < 32 and number.unit == "characters"
    assert number.low is not None and number.high is not None and number.low <= number.high


def test_shuffle_does_not_apply_without_spaces() -> None:
    text = CYCLES.replace(" ", "x")
    context = make_context((20, partial(token_back, 20)), text, text)
    assert reason_of(context_shuffle, context) == TooFewWords(0, 512, 512)


def test_shuffle_leaves_out_places_without_two_words() -> None:
    """The second half of the text is one word."""
    text = CYCLES + "x" * len(CYCLES)
    context = make_context((20, partial(token_back, 20)), text, text)
    result = context_shuffle(context, context_lengths=[2, 4], num_places=500).result
    (note,) = result.notes
    assert isinstance(note, PlacesLeftOut) and 200 < note.left_out < 250 and note.total == 500


def test_shuffle_reads_all_before_the_passage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that looks 600 back sees past it; only these 512 are in another order."""
    shuffled_texts = []

    class RecordingModel(FakeModel):
        def advance(self, ids: Tensor, state: State) -> State:
            shuffled_texts.extend(ids.T.numpy() if len(ids) == 512 else [])
            return super().advance(ids, state)

    context = make_context((600, partial(token_back, 600)), CYCLES, "a")
    model = RecordingModel(context.vocabulary.size, 600, partial(token_back, 600))
    monkeypatch.setattr("charlm.evaluation.streaming.TOKENS_PER_ADVANCE", 1 << 20)
    context = dataclasses.replace(context, model=model)
    output = context_shuffle(context, context_lengths=(1, 2, 16), num_places=70)
    assert curve_values(output).tolist() == [0, 0, 0]
    passages = {bytes(sorted(text)) for text in shuffled_texts}
    windows = {bytes(sorted(context.ids[at : at + 512])) for at in range(len(CYCLES) - 512)}
    assert len(shuffled_texts) >= 70 and passages <= windows


def test_shuffle_words_keeps_words() -> None:
    vocabulary = vocabulary_of("abcdefgh \n")
    is_space = vocabulary_mask(vocabulary, str.isspace)
    text = "ab cde \n f\ngh  a b c d e f g h"
    ids = np.array(vocabulary.encode(text))
    shuffled = ids_to_text(shuffle_words(ids, is_space, np.random.default_rng(0)), vocabulary)
    assert shuffled != text and sorted(shuffled) == sorted(text)
    assert all(word in shuffled for word in ("ab ", "cde \n ", "f\n", "gh  "))
