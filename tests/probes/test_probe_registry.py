"""All probes: documentation, units of characters and bytes."""

import dataclasses
from functools import partial

import msgspec
import numpy as np
import pytest
from conftest import TINY, prose
from known_memory import text_of_names, text_with_repeated_words

from charlm.config import validate_config
from charlm.data.vocabulary import BYTE_VOCABULARY, ids_to_text
from charlm.models.build import build_char_lm
from charlm.models.char_lm import CharLM
from charlm.probes.base import MEMORY_PROBES, PROBES, ProbeContext, ProbeNotApplicableError
from charlm.probes.closing_delimiters import closing_delimiters
from charlm.probes.context_replacement import context_replacement
from charlm.probes.context_shuffle import context_shuffle
from charlm.probes.gradient_norm import gradient_norm
from charlm.probes.lyapunov import lyapunov
from charlm.probes.position import position
from charlm.probes.readout import readout
from charlm.probes.repeated_words import repeated_words
from charlm.probes.timescales import timescales
from charlm.probes.verbatim_recall import verbatim_recall
from charlm.probes.word_occurrences import word_occurrences
from charlm.results.probes import ProbeDocumentation, ProbeResult

SMALL_PROBES = {
    "closing-delimiters": partial(closing_delimiters, min_events=20),
    "context-replacement": partial(
        context_replacement, context_lengths=(4, 16), num_places=(150, 140)
    ),
    "context-shuffle": partial(context_shuffle, context_lengths=(1, 4, 16), num_places=90),
    "gradient-norm": partial(gradient_norm, max_lag=64, num_positions=4),
    "lyapunov": partial(lyapunov, measured_length=8),
    "position": partial(position, max_windows=4),
    "readout": partial(readout, distances=(1, 4), num_places=500),
    "repeated-words": partial(repeated_words, min_events=3),
    "timescales": partial(timescales, measured_length=64),
    "verbatim-recall": partial(verbatim_recall, filler_lengths=[16, 64], num_lists=20),
    "word-occurrences": partial(word_occurrences, min_events=3),
}


def byte_model() -> CharLM:
    return build_char_lm(validate_config({**TINY, "vocab": "bytes"}), 256, "loop", "cpu").eval()


def test_bytes_are_characters_if_ascii() -> None:
    ids = np.frombuffer(f"{prose(2000)}(é) “(b)”\xa0".encode(), np.uint8)
    assert (
        ids_to_text(ids[-14:], BYTE_VOCABULARY)
        == "\ufffd) \ufffd\ufffd\ufffd(b)\ufffd\ufffd\ufffd\ufffd\ufffd"
    )
    context = ProbeContext(
        model=byte_model(),
        ids=ids,
        vocabulary=BYTE_VOCABULARY,
        train_ids=ids[:1].repeat(2000),
        unit_edges=np.array([0, len(ids)]),
    )
    with pytest.raises(ProbeNotApplicableError, match="TooFewLetters"):
        verbatim_recall(context)


def labels(result: ProbeResult) -> list[str]:
    return [
        label
        for panel in (result, *result.panels)
        for label in (panel.x, panel.y, *(number.unit for number in panel.numbers))
    ]


@pytest.mark.slow
def test_probes_of_bytes_do_not_speak_of_characters_and_announce_their_work() -> None:
    model = byte_model()
    text = prose(2000) + "(b)" * 40 + text_with_repeated_words([69], 10)
    ids, train_ids = (
        np.frombuffer(part.encode(), np.uint8) for part in (text, text_of_names(2000))
    )
    work = {"expected": 0, "read": 0}

    def add(name: str, number: int) -> None:
        work[name] += number

    context = ProbeContext(
        model=model,
        ids=ids,
        vocabulary=BYTE_VOCABULARY,
        train_ids=train_ids,
        unit_edges=np.arange(5) * len(ids) // 4,
        expect=partial(add, "expected"),
        tick=partial(add, "read"),
        char_lm=model,
        make_untrained_model=lambda: model,
    )
    short = dataclasses.replace(context, ids=ids[:50], train_ids=train_ids[:50])
    results = {}
    for name, measure in SMALL_PROBES.items():
        work |= {"expected": 0, "read": 0}
        results[name] = measure(context).result
        assert work["expected"] == work["read"] > 0, name
        with pytest.raises(ProbeNotApplicableError):
            PROBES[name].measure(short)
    assert set(results) == set(PROBES)
    for name, result in results.items():
        assert name == "verbatim-recall" or any("byte" in label for label in labels(result)), name
        assert not any("character" in label for label in labels(result)), name


def test_every_probe_is_documented() -> None:
    assert {*MEMORY_PROBES, "closing-delimiters", "verbatim-recall"} <= set(PROBES)
    for probe in PROBES.values():
        assert isinstance(probe.documentation, ProbeDocumentation)
        assert all(len(text) > 20 for text in msgspec.structs.astuple(probe.documentation))
