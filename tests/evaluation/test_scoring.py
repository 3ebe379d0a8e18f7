"""The exact score: every token once, however training read; and what an unknown one costs."""

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, make_run, prose
from untrained_models import encode_file, nats_by_definition, score_untrained

from charlm.config import validate_config
from charlm.data.corpus import Corpus, load_corpus
from charlm.data.vocabulary import UNICODE_CODE_POINTS
from charlm.errors import DataError, DivergedError
from charlm.evaluation import scoring
from charlm.evaluation.scoring import iter_token_nll, score_split, score_text, validation_bpc
from charlm.models.build import build_char_lm
from charlm.models.char_lm import CharLM


def test_score_equals_its_definition(tmp_path: Path) -> None:
    """Every token once, the first from the initial state; summed, then divided once."""
    text = prose(700, seed=5)
    score, model, vocabulary = score_untrained(
        tmp_path, text, initial_state="learned", num_layers=2
    )
    nats = nats_by_definition(model, vocabulary.encode(text))
    assert score.nats_per_char == pytest.approx(nats / 700, rel=1e-6)
    assert score.bits_per_char == pytest.approx(nats / 700 / math.log(2), rel=1e-6)
    assert score.bits_per_byte == score.bits_per_char  # all of it is ASCII
    assert (score.characters, score.bytes, score.unknown_tokens) == (700, 700, 0)
    assert score.protocol == "one-stream"
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    assert score.corpus_sha256 == score.text_sha256 == sha256


def test_single_character_is_scored_by_the_bias(tmp_path: Path) -> None:
    score, model, vocabulary = score_untrained(tmp_path, "T")
    # the initial state is zero
    probabilities = model.bias.detach().double().softmax(0)
    expected = -math.log(probabilities[vocabulary.encode("T")[0]])
    assert score.nats_per_char == pytest.approx(expected)


def test_empty_text_has_no_score(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot score the text: it is empty"):
        score_untrained(tmp_path, "")


def test_unknown_character_costs_unk_and_all_code_points(tmp_path: Path) -> None:
    text = "The cat é sees \0 a house."  # a NUL is a character that can be scored, too
    score, model, vocabulary = score_untrained(tmp_path, text)
    ids = vocabulary.encode(text)
    assert ids.count(vocabulary.unk_id) == 2 == score.unknown_tokens
    nats = nats_by_definition(model, ids) + 2 * math.log(1_114_112)
    assert score.nats_per_char == pytest.approx(nats / len(text), rel=1e-6)
    assert score.characters == len(text)
    assert score.bytes == len(text.encode()) == len(text) + 1
    assert score.bits_per_char is not None
    assert score.bits_per_byte == pytest.approx(
        score.bits_per_char * len(text) / len(text.encode())
    )


def test_bytes_are_scored_in_both_units(tmp_path: Path) -> None:
    text = "The cät sees é."
    score, model, _ = score_untrained(tmp_path, text, vocab="bytes")
    nats = nats_by_definition(model, list(text.encode()))
    assert (score.characters, score.bytes, score.tokens) == (15, 17, 17)
    assert score.nats_per_char == pytest.approx(nats / 15, rel=1e-6)
    assert score.bits_per_byte == pytest.approx(nats / 17 / math.log(2), rel=1e-6)
    assert score.unknown_tokens == 0


def test_invalid_utf8_has_no_bits_per_char(tmp_path: Path) -> None:
    score, _, _ = score_untrained(tmp_path, b"The \xff\xfe\x00 cat", vocab="bytes")
    assert score.bits_per_char is None and score.characters is None
    assert score.bits_per_byte > 0


def test_block_bits_are_independent_of_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = prose(3100, seed=5)
    monkeypatch.setattr(scoring, "TOKENS_PER_FORWARD", 700)
    score, model, vocabulary = score_untrained(tmp_path, text)
    assert score.block_lengths == (1033, 1033, 1034)
    first = nats_by_definition(model, vocabulary.encode(text[:1033])) / math.log(2)
    assert score.block_bits[0] == pytest.approx(first, rel=1e-6)
    assert sum(score.block_bits) / 3100 == pytest.approx(score.bits_per_char, rel=1e-12)


@pytest.mark.parametrize("unit", ["char", "byte"])
def test_block_lengths_have_the_unit_of_the_score(tmp_path: Path, unit: str) -> None:
    text = ("é☃" * 1000).encode() + (b"\xff" if unit == "byte" else b"")
    score, _, _ = score_untrained(tmp_path, text, vocab="bytes")
    lengths = score.block_lengths
    assert len(lengths) == 5 and sum(lengths) == (2000 if unit == "char" else 5001)
    bits = sum(score.block_bits) / sum(lengths)
    assert bits == pytest.approx(getattr(score, f"bits_per_{unit}"), rel=1e-12)


def test_score_is_independent_of_training_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = prose(3000, seed=5)
    score, _, _ = score_untrained(tmp_path, text, batch_size=4, seq_len=16, dropout=0.5)
    other, _, _ = score_untrained(tmp_path, text, batch_size=2, seq_len=64, dropout=0.0)
    assert score == other
    monkeypatch.setattr(scoring, "TOKENS_PER_FORWARD", 7)  # nor on the length of a window
    short, _, _ = score_untrained(tmp_path, text)
    assert short.nats_per_char == pytest.approx(score.nats_per_char, rel=1e-6)


def test_state_is_carried_through_the_whole_text(tmp_path: Path) -> None:
    """A model that knows only what it read 5,000 characters ago still knows it."""
    text = "a" + "b" * 5000
    config = validate_config({**TINY, "cell": "rnn", "hidden_size": 1, "embedding_dim": 1})
    (tmp_path / "t.txt").write_text("ab" * 100)
    vocabulary = load_corpus(tmp_path / "t.txt", config).vocabulary
    model = build_char_lm(config, vocabulary.size, "loop", "cpu").eval()
    (cell,) = model.cells
    with torch.no_grad():
        model.embed.weight.copy_(torch.tensor([[1.0], [0.0], [0.0]]))
        cell.W.weight.fill_(10.0)  # "a" sets the unit, and nothing clears it
        cell.W.bias.zero_()
        cell.U.weight.fill_(3.0)
        assert model.weight is not None
        model.weight.copy_(torch.tensor([[-5.0], [5.0], [-5.0]]))
        model.bias.zero_()
    ids = np.array(vocabulary.encode(text))[:, None]
    last = list(iter_token_nll(model, ids, vocabulary))[-1]
    assert float(last[-1, 0]) < 1e-3
    without = list(iter_token_nll(model, ids[1:], vocabulary))[-1]
    assert float(without[-1, 0]) > 1


def test_scoring_uses_no_dropout_and_restores_training_mode(tmp_path: Path) -> None:
    first, model, _ = score_untrained(tmp_path, prose(500), dropout=0.9)
    model.train()
    again, other, vocabulary = score_untrained(tmp_path, prose(500), dropout=0.9)
    assert first == again
    other.train()
    validation_bpc(other, np.zeros(200, dtype=np.int64), vocabulary)
    assert other.training


def test_validation_reads_streams_and_counts_unknown_tokens(tmp_path: Path) -> None:
    _, model, vocabulary = score_untrained(tmp_path, "The")
    assert vocabulary.unk_id is not None
    ids = np.array(vocabulary.encode(prose(64 * 3, seed=2)))
    streams = ids.reshape(3, 64)
    nats = sum(nats_by_definition(model, stream) for stream in streams.tolist())
    model.float()
    bits = nats / math.log(2) / 192
    assert validation_bpc(model, ids, vocabulary) == pytest.approx(bits, rel=1e-5)
    unknown = ids.copy()
    unknown[5] = vocabulary.unk_id
    least = vocabulary.unk_cost_nats / math.log(2) / 192
    assert least < validation_bpc(model, unknown, vocabulary)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_native_kernel_scores_like_the_loop(tmp_path: Path, book: Path, cell: str) -> None:
    run, corpus, config = make_run(tmp_path / cell, book, cell=cell, hidden_size=32)
    bits = [
        bits_of_test(build_char_lm(config, run.vocabulary.size, kernel, "cpu"), corpus)
        for kernel in ("loop", "native")
    ]
    assert bits[0] == pytest.approx(bits[1], rel=1e-6)


def bits_of_test(model: CharLM, corpus: Corpus) -> float:
    score = score_text(model, corpus.vocabulary, corpus.encoding, corpus.record.splits["test"])
    assert score.bits_per_char is not None
    return score.bits_per_char


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_diverged_model_has_no_score(tmp_path: Path, value: float) -> None:
    _, model, vocabulary = score_untrained(tmp_path, "The")
    with torch.no_grad():
        model.bias.fill_(value)
    encoding = encode_file(tmp_path / "text.txt", vocabulary)
    with pytest.raises(DivergedError, match="the score is"):
        score_text(model, vocabulary, encoding, (0, 3))


def test_units_of_a_score_are_those_of_the_split(tmp_path: Path) -> None:
    for number in range(120):
        (tmp_path / f"{number}.txt").write_text(prose(200, number) + "\n")
    config = validate_config({**TINY, "split_ratios": "50/25/25"})
    corpus = load_corpus(tmp_path, config)
    model = build_char_lm(config, corpus.vocabulary.size, "loop", "cpu")
    score = score_split(model, corpus, "test")
    assert score.unit_kind == "file" and score.block_lengths == (201,) * corpus.record.files["test"]
    assert score.bits_per_char is not None
    assert sum(score.block_bits) == pytest.approx(score.bits_per_char * score.tokens, rel=1e-12)
    text = corpus.encoding.text(*corpus.record.splits["test"])
    nats = nats_by_definition(model, corpus.vocabulary.encode(text))
    assert sum(score.block_bits) == pytest.approx(nats / math.log(2), rel=1e-6)


@torch.no_grad()
def test_score_is_a_code_length(tmp_path: Path) -> None:
    """Rare and new characters: the unknown token, then one of all code points. Kraft's sum is 1."""
    text = prose(1000) + "é" + prose(1000, 1) + "☃" + prose(100)
    (tmp_path / "x.txt").write_text(text)
    config = validate_config({**TINY, "split_ratios": "50/25/25", "min_char_frequency": 0.01})
    corpus = load_corpus(tmp_path / "x.txt", config)
    vocabulary = corpus.vocabulary
    assert corpus.record.rare_characters > 0 and ord("é") not in vocabulary.tokens
    model = build_char_lm(config, vocabulary.size, "loop", "cpu").double()
    bits, state = 0.0, model.initial_state(1)
    probabilities = model.next_token_logits(state)[0].softmax(0)
    start, end = corpus.record.splits["test"]
    for character in text[start:end]:
        known, unknown = probabilities[:-1], probabilities[-1] / UNICODE_CODE_POINTS
        assert float(known.sum() + UNICODE_CODE_POINTS * unknown) == pytest.approx(1, abs=1e-9)
        is_known = ord(character) in vocabulary.tokens
        index = vocabulary.tokens.index(ord(character)) if is_known else len(vocabulary.tokens)
        bits -= math.log2(float(probabilities[index] if is_known else unknown))
        logits, state = model(torch.tensor([[index]]), state)
        probabilities = logits[0, 0].softmax(0)
    model.float()
    score = score_split(model, corpus, "test")
    assert score.unknown_tokens > 5
    assert sum(score.block_bits) == pytest.approx(bits, rel=1e-6)


def test_validation_is_spread_over_the_whole_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "VALIDATION_TOKENS", 32 * 64)
    _, model, vocabulary = score_untrained(tmp_path, "The")
    read: list[np.ndarray] = []

    def record(
        model: CharLM, ids: np.ndarray, vocabulary: object, **_: object
    ) -> list[torch.Tensor]:
        read.append(ids)
        return [torch.ones(ids.shape)]

    monkeypatch.setattr(scoring, "iter_token_nll", record)
    assert validation_bpc(model, np.arange(100_000), vocabulary) == pytest.approx(1 / math.log(2))
    (ids,) = read
    assert ids.shape == (64, 32)
    assert ids[0].tolist() == [stream * 100_000 // 32 for stream in range(32)]
    assert (np.diff(ids, axis=0) == 1).all()
