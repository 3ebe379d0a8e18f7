"""Probes of natural text, asked of readers whose memory is known exactly."""

import dataclasses
import itertools
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from conftest import TINY, prose
from numpy.testing import assert_allclose
from torch import Tensor
from torch.nn.functional import one_hot

from charlm.cells.names import CELL_NAMES
from charlm.config import validate_config
from charlm.data.delimiters import match_brackets, match_indented_blocks, match_quotes
from charlm.data.vocabulary import BYTE_VOCABULARY, Vocabulary, ids_to_text, vocabulary_mask
from charlm.evaluation import streaming
from charlm.models.build import build_char_lm, select_kernel
from charlm.models.char_lm import CharLM
from charlm.probes.base import PROBES, ProbeContext, ProbeNotApplicable
from charlm.probes.closing_delimiters import bin_by_distance, closing_delimiters
from charlm.probes.context_replacement import context_replacement
from charlm.probes.context_shuffle import context_shuffle, shuffle_words
from charlm.probes.context_truncation import context_truncation
from charlm.probes.effective_context import effective_context_length
from charlm.probes.gradient_norm import gradient_norm
from charlm.probes.relative_context import relative_effective_context_length
from charlm.probes.timescales import timescales
from charlm.probes.verbatim_recall import ratio_with_error, verbatim_recall
from charlm.results.probes import ProbeResult

State = tuple[tuple[Tensor, ...], ...]
Guess = Callable[[Tensor], Tensor]  # what was read last (batch, memory), -1: nothing -> (batch,)
CLIFF = range(15, 26)


class Fake:
    """Remembers the last `memory` characters, and guesses from nothing else; -1: it has no idea."""

    def __init__(self, symbols: int, memory: int, guess: Guess) -> None:
        self.symbols, self.memory, self.guess = symbols, memory, guess

    def start(self, batch: int) -> State:
        return ((torch.full((batch, self.memory), -1),),)

    def expect(self, state: State) -> Tensor:
        guess = self.guess(state[0][0])
        sure = one_hot(guess.clamp(min=0), self.symbols) * (guess >= 0)[:, None]
        return 50.0 * sure

    def read(self, ids: Tensor, state: State) -> State:
        return ((torch.cat((state[0][0], ids.T), 1)[:, -self.memory :],),)

    def __call__(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        logits = []
        for time in ids:
            state = self.read(time[None], state)
            logits.append(self.expect(state))
        return torch.stack(logits), state


def back(distance: int, history: Tensor) -> Tensor:
    """The character that stood so far back; -1 if it is not remembered."""
    if distance > history.shape[1]:
        return torch.full(history.shape[:1], -1)
    return history[:, -distance]


def alphabet_of(text: str) -> Vocabulary:
    return Vocabulary("chars", tuple(map(ord, sorted(set(text)))))


def reading(fake: tuple[int, Guess], text: str, elsewhere: str, seed: int = 0) -> ProbeContext:
    alphabet = alphabet_of(text + elsewhere)
    ids, other = (np.array(alphabet.encode(one)) for one in (text, elsewhere))
    return ProbeContext(
        model=Fake(alphabet.size, *fake), ids=ids, vocabulary=alphabet, train_ids=other, seed=seed
    )


def cyclic(seed: int) -> str:
    """2,000 characters, each of them that which stood 20 before, with five words in 20."""
    draw = np.random.default_rng(seed)
    words = ["".join(draw.choice(list("abcdefgh"), 3)) + " " for _ in range(5)]
    return "".join(words) * 100


def names(length: int) -> str:
    """A text of names, all letters about as common as each other."""
    draw = np.random.default_rng(3)
    words = ("".join(draw.choice(list("abcdefghijkl"), 5)) for _ in range(length // 7))
    return ", ".join(word.capitalize() for word in words)


def remembers(memory: int) -> ProbeContext:
    """One that expects the character 20 back, in a text where that is always right."""
    return reading((memory, partial(back, 20)), cyclic(0), cyclic(1))


def y(found: ProbeResult, curve: int = 0) -> np.ndarray:
    return np.array(found.curves[curve].y)


# how far back


@pytest.mark.parametrize("asked", [context_truncation, context_replacement, context_shuffle])
def test_who_looks_20_back_falls_off_a_cliff_at_exactly_20(
    asked: Callable[..., ProbeResult],
) -> None:
    found = asked(remembers(20), ks=CLIFF, places=300)
    lost = y(found) - y(found)[-1]
    assert (lost[:5] > 1).all()
    assert_allclose(lost[5:], 0, atol=1e-12)
    number = found.numbers[0]
    assert (number.value, number.low, number.high, number.note) == (20, 20, 20, "")


@pytest.mark.parametrize("asked", [context_truncation, context_replacement, context_shuffle])
def test_who_remembers_19_has_no_cliff(asked: Callable[..., ProbeResult]) -> None:
    found = asked(remembers(19), ks=CLIFF, places=300)
    assert_allclose(y(found), y(found)[-1], atol=1e-12)
    assert found.numbers[0].value == 15  # the least that was asked


@pytest.mark.parametrize("asked", [context_truncation, context_replacement, context_shuffle])
def test_what_is_asked_at_most_may_not_be_enough(asked: Callable[..., ProbeResult]) -> None:
    number = asked(remembers(20), ks=[5, 10], places=300).numbers[0]
    assert (number.value, number.high, number.note) == (None, None, "more than 10")


def tiny_reading(length: int, **settings: object) -> ProbeContext:
    """A model of the words of prose that is far from indifferent, in float64."""
    alphabet = alphabet_of(prose(3000))
    model = (
        build_char_lm(validate_config({**TINY, **settings}), alphabet.size, "loop", "cpu")
        .double()
        .eval()
    )
    for parameter in model.parameters():
        parameter.data *= 3
    ids, other = (np.array(alphabet.encode(prose(n, seed))) for n, seed in ((length, 1), (3000, 2)))
    return ProbeContext(model=model, ids=ids, vocabulary=alphabet, train_ids=other)


def costs_by_hand(model: CharLM, ids: np.ndarray) -> list[float]:
    """Bits of each id after those before it, from the start state."""
    state, costs = model.initial_state(1), []
    with torch.no_grad():
        for symbol in ids:
            costs.append(
                float(-model.next_token_logits(state)[0].log_softmax(0)[symbol] / math.log(2))
            )
            _, state = model(torch.tensor([[symbol]]), state)
    return costs


def test_context_is_its_definition_and_a_larger_k_has_a_part_of_the_places() -> None:
    asked = tiny_reading(300, num_layers=2, block="residual")
    found = context_truncation(asked, ks=[1, 4, 16], places=24, read_at_most=192)
    kept, (line,) = found.kept, found.curves
    at, losses = kept["places"].tolist(), kept["bits"].numpy()
    assert (at[0], at[-1], len(at)) == (16, 299, 24)
    assert line.count == [24, 24, 12]
    assert np.isnan(losses[2, 1::2]).all()
    model = asked.model
    assert isinstance(model, CharLM)
    full = np.array(costs_by_hand(model, asked.ids))
    assert_allclose(asked.bits, full, rtol=1e-9)
    for row, k in enumerate((1, 4, 16)):
        scored = np.isfinite(losses[row])
        places = np.array(at)[scored]
        by_hand = [costs_by_hand(model, asked.ids[n - k : n + 1])[-1] for n in places]
        assert_allclose(losses[row, scored], by_hand, rtol=1e-6)
        lost = by_hand - full[places]
        assert line.y[row] == pytest.approx(asked.bits.mean() + lost.mean(), rel=1e-9)
        assert line.error is not None
        assert line.error[row] == pytest.approx(lost.std(ddof=1) / len(lost) ** 0.5, rel=1e-9)
    counts = np.bincount(asked.train_ids, minlength=asked.vocabulary.size)
    assert found.chance == pytest.approx(
        -np.log2((counts / counts.sum())[asked.ids]).mean(), rel=0.01
    )


@pytest.mark.parametrize("asked", [context_replacement, context_shuffle])
def test_a_place_is_read_as_far_as_it_is_scored(asked: Callable[..., ProbeResult]) -> None:
    """Whatever the number of streams side by side, and of places that a larger k still has."""
    found = asked(tiny_reading(900), ks=[1, 4, 16, 32], places=48, read_at_most=320)
    assert found.curves[0].count == [48, 48, 12, 6]
    alone = asked(tiny_reading(900), ks=[4, 32], places=48, read_at_most=10**6)
    assert alone.curves[0].count == [48, 48]
    assert y(found)[1] == pytest.approx(y(alone)[0], rel=1e-9)


SHORT = {"ks": [1, 4, 16], "places": 60, "read_at_most": 240}
ASKED = [
    *(
        partial(asked, **SHORT)
        for asked in (context_truncation, context_replacement, context_shuffle)
    ),
    partial(verbatim_recall, fillers=[16, 64], lists=20),
    partial(closing_delimiters, least=20),
]


@pytest.mark.parametrize("asked", ASKED[:4], ids=("context", "replace", "shuffle", "repeat"))
def test_how_many_are_read_side_by_side_changes_nothing(
    asked: Callable[..., ProbeResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = names(4000)
    alphabet = alphabet_of(text)
    ids = np.array(alphabet.encode(text))
    model = build_char_lm(validate_config(TINY), alphabet.size, "loop", "cpu").double().eval()
    few = ProbeContext(model=model, ids=ids[:900], vocabulary=alphabet, train_ids=ids)
    usual = asked(few)
    monkeypatch.setattr(streaming, "STREAMS", 3)  # so that none of some is left for a larger k
    monkeypatch.setattr(streaming, "CALL", 33)
    assert_allclose(y(asked(few)), y(usual), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("asked", ASKED, ids=("context", "replace", "shuffle", "repeat", "closing"))
def test_every_kernel_gives_the_same_answer(asked: Callable[..., ProbeResult]) -> None:
    fastest, _ = select_kernel(validate_config(TINY))
    assert fastest != "loop"
    text = names(4000).replace("a", "(").replace("b", ")")
    alphabet = alphabet_of(text)
    ids = np.array(alphabet.encode(text))
    models = (
        build_char_lm(validate_config(TINY), alphabet.size, name, "cpu").eval()
        for name in ("loop", fastest)
    )
    one, other = (
        asked(ProbeContext(model=model, ids=ids[:1000], vocabulary=alphabet, train_ids=ids))
        for model in models
    )
    assert one.curves[0].x == other.curves[0].x
    assert_allclose(y(one), y(other), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", CELL_NAMES)
def test_streams_can_be_picked_from_the_state_of_every_cell(name: str) -> None:
    config = validate_config({**TINY, "cell": name, "num_layers": 2, "block": "residual"})
    if name == "depth-gated-lstm":
        config = validate_config({**TINY, "cell": name, "num_layers": 2})
    model = build_char_lm(config, 9, "loop", "cpu").double().eval()
    ids = torch.arange(40).reshape(10, 4) % 9
    with torch.inference_mode():
        state = model.advance(ids[:5], model.initial_state(4))
        some = streaming.select_streams(state, torch.tensor([2, 0]))
        found = model.next_token_logits(model.advance(ids[5:, [2, 0]], some))
        logits, _ = model(ids[:, [2, 0]], model.initial_state(2))
    assert_allclose(found, logits[-1], rtol=1e-9)


def test_a_text_that_is_too_short_says_so() -> None:
    whole = remembers(20)
    for length, asked in itertools.product(
        (0, 1, 255), (context_truncation, context_replacement, context_shuffle)
    ):
        short = ProbeContext(
            model=whole.model,
            ids=whole.ids[:length],
            vocabulary=whole.vocabulary,
            train_ids=whole.train_ids,
        )
        with pytest.raises(
            ProbeNotApplicable, match=f"the text has {length} characters, and .* needed"
        ):
            asked(short)
    found = context_truncation(whole, places=10)
    assert found.curves[0].x[-1] == 768
    assert found.notes == ["a text of 2,000 characters is too short for more than 768"]


def test_a_text_without_spaces_has_no_words_to_shuffle() -> None:
    text = cyclic(0).replace(" ", "x")
    with pytest.raises(ProbeNotApplicable, match="before 0 of 464 places there are two words"):
        context_shuffle(reading((20, partial(back, 20)), text, text), places=464)


def test_a_place_without_two_words_before_it_is_not_asked() -> None:
    """In a text whose second half is one word only the places of the first lose something."""
    text = cyclic(0) + "x" * 2000
    asked = reading((600, partial(back, 20)), text, text)
    found = context_shuffle(asked, ks=[2, 4], places=1000)
    words = [len(text[at - 512 : at].split()) for at in np.linspace(512, 3995, 1000).astype(int)]
    there = sum(many > 1 for many in words)
    assert 500 < there < 600 and found.curves[0].count == [there, there]
    assert found.notes == [
        f"{1000 - there} of 1,000 places are left out: the 512 characters before have not two words"
    ]
    with pytest.raises(ProbeNotApplicable, match="before 1.. of 250 places there are two words"):
        context_shuffle(asked, ks=[2, 4], places=250)


def test_a_training_text_that_is_too_short_says_so() -> None:
    short = reading((20, partial(back, 20)), cyclic(0), cyclic(1)[:255])
    with pytest.raises(
        ProbeNotApplicable, match="the training text has 255 characters, and 256 are"
    ):
        context_replacement(short)


def test_only_the_last_512_characters_are_in_disorder() -> None:
    """Who looks 600 back sees beyond them; what is in disorder is nothing but those 512."""
    asked = reading((600, partial(back, 600)), cyclic(0), cyclic(1))
    heard = []

    class Hears(Fake):
        def read(self, ids: Tensor, state: State) -> State:
            heard.extend(ids.T.numpy() if len(ids) == 512 else [])
            return super().read(ids, state)

    fake = Hears(asked.vocabulary.size, 600, partial(back, 600))
    asked = dataclasses.replace(asked, reader=fake)
    found = context_shuffle(asked, ks=CLIFF, places=30)
    assert_allclose(y(found), 0, atol=1e-12)
    starts = np.linspace(512, 2000 - 25 - 1, 30).astype(int)
    for start, words in zip(starts, heard, strict=True):
        before = asked.ids[start - 512 : start]
        assert sorted(words) == sorted(before) and (words != before).any()


def test_what_is_further_back_than_the_disorder_is_read_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("charlm.probes.shuffle.HORIZON", 8)
    monkeypatch.setattr("charlm.probes.shuffle.disordered", lambda text, *_: text[::-1].copy())
    asked = tiny_reading(300)
    found = context_shuffle(asked, ks=[2, 4], places=10)
    lost = []
    for start in np.linspace(8, 295, 10).astype(int):
        backwards = asked.ids[start - 8 : start][::-1]
        text = np.concatenate((asked.ids[: start - 8], backwards, asked.ids[start : start + 3]))
        lost.append(costs_by_hand(asked.model, text)[-1] - asked.bits[start + 2])
    assert y(found)[0] == pytest.approx(np.mean(lost), rel=1e-9)


def test_words_in_disorder_are_the_same_words_in_another_order() -> None:
    alphabet = alphabet_of("abcdefgh \n")
    blank = vocabulary_mask(alphabet, str.isspace)
    text = "ab cde \n f\ngh  a b c d e f g h"
    draw = np.random.default_rng(0)
    found = ids_to_text(shuffle_words(np.array(alphabet.encode(text)), blank, draw), alphabet)
    assert found != text and sorted(found) == sorted(text)
    assert all(word in found for word in ("ab ", "cde \n ", "f\n", "gh  "))


def test_the_reach_is_the_first_k_within_a_hundredth_and_its_interval_that_of_stretches() -> None:
    """Of 5 bits a character: 0.05. The third k is there on the whole, but not in all its parts."""
    asked = remembers(20)
    asked.__dict__["bits"] = np.full(2000, 5.0)
    lost = np.zeros((4, 640))
    lost[0], lost[1, :320] = 1.0, 0.2
    lost[2, ::7] = 0.34
    assert lost[1].mean() == pytest.approx(0.1) and 0.048 < lost[2].mean() < 0.05
    number = effective_context_length("reach", asked, [1, 2, 4, 8], lost)
    assert (number.value, number.low, number.high) == (4, 4, 8)
    lost[2, 320:] = np.nan  # places that are not scored do not count
    assert effective_context_length("reach", asked, [1, 2, 4, 8], lost).value == 4
    lost[3] = 0.06
    number = effective_context_length("reach", asked, [1, 2, 4, 8], lost + 0.01)
    assert (number.value, number.low, number.high) == (None, None, None)
    assert number.note == "more than 8"


# a group of runs


def kept(*bits: list[float]) -> dict[str, Tensor]:
    return {"ks": torch.tensor([1, 2, 4]), "bits": torch.tensor(bits)}


def test_recl_is_its_definition_by_hand() -> None:
    """With one character the best has 4, 2, 1, 1 bits; with two, 3, 2, 1, and no fourth place."""
    nan = math.nan
    group = {
        "good": kept([4, 2, 1, 1], [2, 2, 1, nan], [2, 2, 1, nan]),
        "poor": kept([5, 3, 2, 1], [3, 4, 1, nan], [2.9, 4, 0.97, nan]),
    }
    found = relative_effective_context_length(group)
    half, whole = found.more
    assert [one.title for one in (found, half, whole)] == ["r = 0.1", "r = 0.5", "r = 1"]
    assert found.curves[0].x == [1, 2]
    # r = 1: the bars are 4, 2, 1 and then 2, 2, 1; what is above them does not count.
    assert_allclose(y(whole), [1 - 2 ** (-2 / 3), 0], atol=1e-6)
    assert_allclose(y(whole, 1), [1 - 2 ** (-1 / 3), 1 - 2 ** (-0.03 / 3)], rtol=1e-4)
    # r = 0.5: the two places with the highest bars; r = 0.1: one.
    assert_allclose(y(half, 1), [1 - 2 ** (-1 / 2), 0], atol=1e-6)
    assert_allclose(y(found, 1), [1 - 2**-1, 0], atol=1e-6)
    values = {(one.run, one.name): (one.value, one.note) for one in found.numbers}
    assert values["good", "r = 1"] == values["poor", "r = 1"] == (2, "")
    group["poor"]["bits"][2, 2] = 0.9
    found = relative_effective_context_length(group)
    assert found.numbers[-1].value is None and found.numbers[-1].note == "more than 2"
    assert found.notes == []


def test_a_single_run_has_a_recl_against_itself() -> None:
    found = relative_effective_context_length({"one": kept([4.0, 2.0], [3.0, 2.0], [3.0, 2.0])})
    assert found.notes == ["one run alone is measured against itself"]
    assert found.numbers[-1].value == 2


def test_recl_doubles_the_context_whatever_else_was_asked() -> None:
    bits = torch.tensor([[4.0, 2.0], [3.0, 2.0], [1.0, 1.0], [2.0, 2.0]])
    found = relative_effective_context_length(
        {"one": {"ks": torch.tensor([1, 2, 3, 4]), "bits": bits}}
    )
    assert found.more[1].curves[0].x == [1, 2]
    assert_allclose(y(found.more[1]), [1 - 2**-0.5] * 2, rtol=1e-9)


# closing


def last_opener(history: Tensor) -> Tensor:
    """Expects ) where ( is remembered, the last of the brackets; ids of the alphabet " ()a"."""
    bracket = torch.where((history == 1) | (history == 2), torch.arange(history.shape[1]), -1)
    last = bracket.argmax(1)
    opened = history[torch.arange(len(history)), last] == 1
    return torch.where(opened, 2, -1)


def test_who_remembers_an_opener_for_30_characters_closes_no_further() -> None:
    distances = np.random.default_rng(0).permutation(np.tile(np.arange(2, 51), 4))
    text = "".join("(" + "a" * (distance - 1) + ") " for distance in distances)
    asked = reading((30, last_opener), text, text[:3000])
    assert asked.vocabulary.tokens == tuple(map(ord, " ()a"))
    bits = closing_delimiters(asked, least=40)
    (share,) = bits.more
    assert (bits.title, bits.y, share.y) == ("brackets", "bits per closer", "share expected most")
    assert share.curves[0].count == [14 * 4, 16 * 4, 19 * 4]  # 8 to 15 are only 32
    assert_allclose(y(share), [1, 15 / 16, 0], atol=1e-12)
    assert_allclose(y(bits), [0, math.log2(5) / 16, math.log2(5)], atol=1e-9)
    assert share.curves[1].name == "n-gram" and y(share, 1)[-1] < 0.01
    assert bits.notes == [
        "the text closes no quotation marks: not shown",
        "the text closes no blocks: not shown",
    ]
    right, saved = bits.numbers
    assert right.value == pytest.approx(29 / 49) and right.unit == "of 196"
    assert saved.value is not None and saved.value > 1


def test_a_block_is_closed_where_its_indentation_ends_whatever_comes() -> None:
    """The fake expects a space after any space: it never ends an indentation by itself."""
    text = "if a:\n    b\n  c\nd\n" * 100

    def more_space(history: Tensor) -> Tensor:
        space = torch.tensor(sorted(set(text)).index(" "))
        return torch.where(history[:, -1] == space, space, -1)

    found = closing_delimiters(reading((1, more_space), text, text), least=100)
    (share,) = found.more
    assert found.title == "blocks"
    assert share.curves[0].x == pytest.approx([14, 16])
    assert share.curves[0].count == [100, 100]
    # c comes after a space; d after a line's end, where the fake has no idea
    symbols = len(set(text)) + 1
    end = -math.log2((symbols - 1) / symbols)
    space = 50 / math.log(2) - math.log2(symbols - 1)
    assert_allclose(y(found), [space, end], rtol=1e-6)
    assert_allclose(y(share), [0, 1])


def test_a_text_that_closes_nothing_says_so() -> None:
    with pytest.raises(
        ProbeNotApplicable, match="closes no brackets, no quotation marks, no blocks"
    ):
        closing_delimiters(remembers(20))
    with pytest.raises(
        ProbeNotApplicable, match="closes only 2 brackets, no quotation marks, no blocks"
    ):
        closing_delimiters(reading((1, partial(back, 1)), "(a) [b]", "(a)"))


def test_bins_have_enough_events_each_and_the_far_ones_their_own() -> None:
    distance = np.repeat([1, 2, 4, 8, 16, 32, 64], [90, 500, 30, 190, 210, 150, 60])
    groups = bin_by_distance(distance, 200)
    assert [sorted(set(distance[group].tolist())) for group in groups] == [
        [1, 2],
        [4, 8],
        [16],
        [32, 64],
    ]
    assert sum(len(group) for group in groups) == len(distance)


@pytest.mark.parametrize(
    ("find", "text", "pairs"),
    [
        (match_brackets, "a(b[c]{d})", ["[c]", "{d}", "(b[c]{d})"]),
        (
            match_brackets,
            "1) one (two) :( (x]y) (z)",
            ["(two)", "(z)"],
        ),  # what does not fit ends all
        (match_quotes, 'He said "yes" and\n"no". "', []),  # one is left over
        (match_quotes, 'He said "yes" and\n"no".\n\n" "a', ['"yes"', '"no"', '" "']),
        (match_quotes, 'say "a\n\nb" now', []),  # a paragraph ends between them
        (match_quotes, "x = 'it' + \"don't\" + 'x'", ['"don\'t"', "'it'", "'x'"]),
        (match_quotes, "the dogs' and 'cat' don't", []),  # a possessive: nothing is certain
        (match_quotes, "b'x' + y", []),
        (match_quotes, r'"a \" b"', [r'"a \" b"']),
        (match_quotes, "“a ‘b’ c’d” «f»", ["“a ‘b’ c’d”", "‘b’", "«f»"]),
        (match_quotes, "„e“ und „f“", ["„e“", "„f“"]),
        (match_quotes, "»e« und »f«", []),
        (match_quotes, '"""Doc."""', []),  # a delimiter is no pair of marks
        (match_quotes, 'f("a")\n"""One "b".\n\nTwo.\n"""\ng(\'c\')', ['"a"', '"b"', "'c'"]),
        (match_quotes, "x = '''a''' + ''", ["''"]),
        (
            match_indented_blocks,
            "a:\n  b:\n    c\n\n  d\ne",
            ["b:\n    c\n\n  d", "a:\n  b:\n    c\n\n  d\ne"],
        ),
        (
            match_indented_blocks,
            "a\n\tb\n    c\nd",
            ["a\n\tb\n    c", "a\n\tb\n    c\nd"],
        ),  # a tab: 8 columns
        (
            match_indented_blocks,
            "a\n   b\n  c\n d\ne",
            ["a\n   b\n  c", "a\n   b\n  c\n d", "a\n   b\n  c\n d\ne"],
        ),
    ],
)
def test_what_closes_what(
    find: Callable[[str], list[tuple[int, int]]], text: str, pairs: list[str]
) -> None:
    assert sorted(text[start : end + 1] for start, end in find(text)) == sorted(pairs)


def test_of_a_long_training_text_the_end_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "(a) [b] " * 300
    asked = reading((1, partial(back, 1)), text, names(3000) + text)
    end = closing_delimiters(
        dataclasses.replace(asked, elsewhere=asked.train_ids[-1000:]), least=20
    )
    whole = closing_delimiters(asked, least=20)
    monkeypatch.setattr("charlm.ngram.COUNTED", 1000)
    found = closing_delimiters(asked, least=20)
    assert found.curves == end.curves != whole.curves
    note = "the n-gram is counted on the last 1,000 characters of training"
    assert note in found.notes and note not in whole.notes


# repeat


def test_who_looks_back_by_one_distance_repeats_after_the_filler_of_that_length() -> None:
    """From name to name it is the list, 40 characters, the comma after it, 2, and the filler."""
    text = names(4000)

    def letter(history: Tensor) -> Tensor:
        """No idea of commas and spaces, ids 1 and 0: they do not count."""
        was = back(106, history)
        return torch.where(was > 1, was, -1)

    found = verbatim_recall(reading((106, letter), text, text), fillers=[16, 64, 256])
    again, first_of_them, others = (y(found, curve) for curve in range(3))
    assert again[1] < 1e-6 and first_of_them[1] < 1e-6
    assert (again[[0, 2]] > 5).all()  # it is sure, and wrong
    assert (others > 5).all()
    assert found.numbers[1].value == again[1] and found.chance == 1
    forgot = verbatim_recall(reading((105, letter), text, text), fillers=[16, 64, 256])
    assert_allclose([y(forgot, curve) for curve in range(3)], 1, rtol=1e-9)


def test_names_are_unseen_and_the_control_is_a_list_that_was_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the names of three letters that there can be the text has many."""
    monkeypatch.setattr("charlm.probes.repeat.LETTERS", 3)
    text = names(4000)
    asked = reading((1, partial(back, 1)), text, text)
    heard: list[str] = []

    class Hears(Fake):
        def __call__(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
            heard.extend(ids_to_text(stream.numpy(), asked.vocabulary) for stream in ids.T)
            return super().__call__(ids, state)

    always = Hears(asked.vocabulary.size, 1, lambda history: torch.full(history.shape[:1], 20))
    found = verbatim_recall(dataclasses.replace(asked, reader=always), fillers=[16], lists=10)
    lists = [one.split(", ")[1:] for one in heard]
    assert len(lists) == 30 and lists[:10] == lists[10:20] == [*lists[21:], lists[20]]
    words = {name for one in lists for name in one}
    assert len(words) == 50
    for name in words:
        assert len(name) == 3 and name.istitle() and name not in text and set(name) <= set(text)
    # Who guesses always the same pays for each list what it pays for it anywhere: each is compared
    # with itself.
    assert [curve.name for curve in found.curves][2] == "other names"
    for curve in found.curves:
        assert curve.y == [1] and curve.error == [pytest.approx(0, abs=1e-12)]


def test_the_error_of_a_ratio_is_how_much_it_varies() -> None:
    draw = np.random.default_rng(0)
    first = draw.normal(100, 20, (2000, 50))
    second = 0.7 * first + draw.normal(0, 10, (2000, 50))
    found = np.array([ratio_with_error(*both) for both in zip(second, first, strict=True)])
    assert found[:, 0].mean() == pytest.approx(0.7, abs=0.001)
    assert found[:, 1].mean() == pytest.approx(found[:, 0].std(), rel=0.05)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0123456789, " * 300, "the training text has 0 letters, and 10 are needed"),
        ("Abcdefghi, " * 300, "the training text has 8 letters"),  # and a capital
        (names(4000).replace(",", ";"), "no comma"),
        (names(500), "the training text has 49. characters, and 1,024 are needed"),
    ],
)
def test_names_need_letters_commas_and_some_text(text: str, why: str) -> None:
    with pytest.raises(ProbeNotApplicable, match=why):
        verbatim_recall(reading((1, partial(back, 1)), text, text))


def test_bytes_can_be_asked_everything() -> None:
    """They are characters where they are ASCII."""
    model = build_char_lm(validate_config({**TINY, "vocab": "bytes"}), 256, "loop", "cpu").eval()
    ids = np.frombuffer(f"{prose(2000)}(é) “(b)”\xa0".encode(), np.uint8)
    assert (
        ids_to_text(ids[-14:], BYTE_VOCABULARY)
        == "\ufffd) \ufffd\ufffd\ufffd(b)\ufffd\ufffd\ufffd\ufffd\ufffd"
    )
    with pytest.raises(ProbeNotApplicable, match="letters"):
        verbatim_recall(
            ProbeContext(
                model=model, ids=ids, vocabulary=BYTE_VOCABULARY, train_ids=ids[:1].repeat(2000)
            )
        )


def test_of_bytes_nothing_is_said_in_characters() -> None:
    model = build_char_lm(validate_config({**TINY, "vocab": "bytes"}), 256, "loop", "cpu").eval()
    ids, other = (
        np.frombuffer(text.encode(), np.uint8) for text in (prose(2000) + "(b)" * 20, names(2000))
    )
    asked = ProbeContext(
        model=model, ids=ids, vocabulary=BYTE_VOCABULARY, train_ids=other, char_lm=model
    )
    asked = dataclasses.replace(asked, fresh=lambda: model)
    smaller = dict(zip(("context", "replace", "shuffle", "repeat", "closing"), ASKED, strict=True))
    smaller["context"] = partial(context_truncation, ks=[1, 2, 4], places=60)
    smaller["gradient"] = partial(gradient_norm, most=64, places=4)
    smaller["timescales"] = partial(timescales, counted=64)
    kept = {}
    for name, probe in PROBES.items():
        if probe.measure is None:
            found = relative_effective_context_length({"one": kept})
        else:
            found = smaller[name](asked)
            kept = found.kept or kept
            with pytest.raises(ProbeNotApplicable, match="bytes|closes no"):
                short = dataclasses.replace(asked, ids=ids[:50], elsewhere=other[:50])
                probe.measure(short)
        said = [
            words
            for one in (found, *found.more)
            for words in (one.x, one.y, *one.notes, *(number.unit for number in one.numbers))
        ]
        assert any("byte" in words for words in said), name
        assert not any("character" in words for words in said), name


def test_every_probe_tells_what_it_asks() -> None:
    assert {"context", "replace", "shuffle", "recl", "closing", "repeat"} <= set(PROBES)
    for probe in PROBES.values():
        assert all(len(said) > 20 for said in probe.documentation.values())
