"""Losses of other programs, against short programs that read a text token by token as they do."""

import math
from pathlib import Path

import numpy as np
import pytest
from conftest import prose
from untrained_models import nats_by_definition, score_untrained

from charlm.data.vocabulary import Vocabulary
from charlm.errors import ConfigError, DataError
from charlm.evaluation import programs
from charlm.evaluation.evaluate import evaluate
from charlm.evaluation.programs import score_as_program
from charlm.models.char_lm import CharLM


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"STREAMS": 3, "WINDOW": 4, "BLOCK_SIZE": 8, "BATCHES": 5}.items():
        monkeypatch.setattr(programs, name, value)
    monkeypatch.setattr(programs, "WINDOWS_PER_BATCH", 2)
    monkeypatch.setattr(programs, "AWD_WINDOW", 5)


@pytest.fixture
def model(tmp_path: Path, small: None) -> tuple[CharLM, Vocabulary]:
    _, model, vocabulary = score_untrained(tmp_path, "The", initial_state="learned")
    return model.double(), vocabulary


def nats_after(model: CharLM, inputs: list[int], targets: list[int]) -> float:
    """Return nats of the target after each input, read from the initial state.

    Only the last target may differ from the next input.
    """
    assert inputs[1:] == targets[:-1]
    both = nats_by_definition(model, [*inputs, targets[-1]])
    return both - nats_by_definition(model, inputs[:1])


@pytest.mark.parametrize(("length", "expected"), [(61, 60), (60, 48), (71, 60)])
def test_torch_rnn_drops_the_end_and_a_whole_window_if_nothing_is_left(
    model: tuple[CharLM, Vocabulary], length: int, expected: int
) -> None:
    char_lm, vocabulary = model
    ids = vocabulary.encode(prose(length))
    extra = length % 12 or 12  # as torch-rnn's loader computes it
    used = length - extra
    streams = [ids[s * used // 3 : (s + 1) * used // 3 + 1] for s in range(3)]
    nats = sum(nats_after(char_lm, s[:-1], s[1:]) for s in streams) / used
    score = score_as_program(char_lm, vocabulary, np.array(ids), "torch-rnn")
    assert score.nats_per_token == pytest.approx(nats, rel=1e-9)
    assert score.bits_per_token == pytest.approx(nats / math.log(2), rel=1e-9)
    assert score.predictions == used == expected and score.text_tokens == length


@pytest.mark.parametrize("length", [60, 71])
def test_char_rnn_predicts_the_first_token_after_the_last(
    model: tuple[CharLM, Vocabulary], length: int
) -> None:
    char_lm, vocabulary = model
    ids = vocabulary.encode(prose(length))[:60]
    targets = [*ids[1:], ids[0]]
    nats = sum(nats_after(char_lm, ids[s : s + 20], targets[s : s + 20]) for s in range(0, 60, 20))
    whole = np.array(vocabulary.encode(prose(length)))
    score = score_as_program(char_lm, vocabulary, whole, "char-rnn")
    assert score.nats_per_token == pytest.approx(nats / 60, rel=1e-9) and score.predictions == 60


@pytest.mark.parametrize(("split", "streams"), [("test", 1), (None, 1), ("valid", 10)])
def test_awd_divides_by_the_tokens_of_a_stream(
    model: tuple[CharLM, Vocabulary], split: str | None, streams: int
) -> None:
    char_lm, vocabulary = model
    ids = vocabulary.encode(prose(67))
    length = 67 // streams
    parts = [ids[s * length : (s + 1) * length] for s in range(streams)]
    mean = sum(nats_after(char_lm, part[:-1], part[1:]) for part in parts) / streams
    score = score_as_program(char_lm, vocabulary, np.array(ids), "awd", split)
    assert score.nats_per_token == pytest.approx(mean / length, rel=1e-9)
    assert score.streams == streams and score.predictions == streams * (length - 1)


def test_nanogpt_reads_random_windows_from_the_initial_state(
    model: tuple[CharLM, Vocabulary],
) -> None:
    char_lm, vocabulary = model
    ids = vocabulary.encode(prose(40))
    array = np.array(ids)
    score = score_as_program(char_lm, vocabulary, array, "nanogpt", seed=7)
    generator, losses = np.random.default_rng(7), []
    for _ in range(5):
        for start in generator.integers(40 - 8, size=2).tolist():
            window = ids[start : start + 9]
            losses.append(nats_after(char_lm, window[:-1], window[1:]) / 8)
    assert score.nats_per_token == pytest.approx(sum(losses) / 10, rel=1e-9)
    assert score == score_as_program(char_lm, vocabulary, array, "nanogpt", seed=7)
    assert score != score_as_program(char_lm, vocabulary, array, "nanogpt", seed=8)
    assert score_as_program(char_lm, vocabulary, array, "nanogpt").seed == 1337


@pytest.mark.parametrize(
    ("program", "minimum"), [("char-rnn", 12), ("torch-rnn", 13), ("nanogpt", 9), ("awd", 2)]
)
def test_text_that_is_too_short_is_refused(
    model: tuple[CharLM, Vocabulary], program: programs.Program, minimum: int
) -> None:
    char_lm, vocabulary = model
    ids = np.array(vocabulary.encode(prose(minimum)))
    score_as_program(char_lm, vocabulary, ids, program)
    with pytest.raises(DataError, match=f"cannot score as {program} does.*needs {minimum}"):
        score_as_program(char_lm, vocabulary, ids[1:], program)


def test_exact_score_stands_beside_it(trained: Path, small: None) -> None:
    report = evaluate(trained, protocol="torch-rnn")
    assert report.as_program is not None and report.as_program.program == "torch-rnn"
    assert report.bits_per_char == evaluate(trained).bits_per_char
    assert report.protocol == "one-stream"
    with pytest.raises(ConfigError, match="only the protocol nanogpt draws"):
        evaluate(trained, protocol="awd", protocol_seed=1)
    with pytest.raises(ConfigError, match="nanogtp"):
        evaluate(trained, protocol="nanogtp")  # type: ignore[arg-type]
