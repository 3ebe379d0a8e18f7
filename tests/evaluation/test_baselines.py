"""Baselines: against sums by hand and what compressors themselves report."""

import bz2
import gzip
import logging
import lzma
import math
import random
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, prose

from charlm.config import validate_config
from charlm.data import encoded_text
from charlm.data.corpus import Corpus, load_corpus
from charlm.data.vocabulary import UNICODE_CODE_POINTS
from charlm.errors import ConfigError
from charlm.evaluation import baselines, ngram, ngram_baseline
from charlm.evaluation.baselines import (
    BASELINES,
    measure_baselines,
    ngram_memory,
    register_baseline,
)
from charlm.evaluation.discounts import DEFAULT
from charlm.evaluation.scoring import score_text
from charlm.models.char_lm import CharLM
from charlm.results.baselines import BaselineDetails, BaselineResult

ZSTD_MODULES = ("backports.zstd", "compression.zstd")


def corpus_of(path: Path, train: str, valid: str, test: str, **settings: object) -> Corpus:
    files = {}
    for name, text in (("train", train), ("valid", valid), ("test", test)):
        files[name] = path / f"{name}.txt"
        files[name].write_bytes(text.encode("utf-8", "surrogateescape"))
    split_files = {"valid_file": str(files["valid"]), "test_file": str(files["test"])}
    return load_corpus(files["train"], validate_config({**TINY, **settings, **split_files}))


def measure(corpus: Corpus, *names: str) -> dict[str, BaselineResult]:
    return {result.name: result for result in measure_baselines(corpus, names=names or None)}


def bits_per_char(result: BaselineResult) -> float:
    assert result.bits_per_char is not None
    return result.bits_per_char


def random_text(characters: int, seed: int = 0) -> str:
    return "".join(random.Random(seed).choices("abcdefgh", k=characters))


def test_uniform_equals_an_untrained_model(tmp_path: Path) -> None:
    """Unknown characters cost as much as in the score of a run."""
    corpus = corpus_of(tmp_path, "abcabcabca" * 5, "abc", "abé☃a" * 3)
    model = CharLM(validate_config(TINY), corpus.vocabulary.size)
    for weight in model.parameters():
        torch.nn.init.zeros_(weight)
    span = corpus.record.splits["test"]
    score = score_text(model, corpus.vocabulary, corpus.encoding, span)
    result = measure(corpus, "uniform")["uniform"]
    expected = 2 + 0.4 * math.log2(UNICODE_CODE_POINTS)
    assert result.bits_per_char == pytest.approx(expected, rel=1e-12)
    for unit in ("bits_per_char", "bits_per_byte"):  # é has 2 bytes, ☃ has 3
        assert getattr(result, unit) == pytest.approx(getattr(score, unit), rel=1e-6)
    assert result.bits_per_byte == pytest.approx(bits_per_char(result) * 5 / 8, rel=1e-12)
    assert result.vocabulary_size == corpus.vocabulary.size == 4


def test_unigram_equals_a_sum_by_hand(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, "aaaaaabbbc", "abc", "abz")  # with unk: four tokens
    share = DEFAULT * 3 / 4  # taken from a, b and c, for the four of them
    probabilities = [
        *((6 - DEFAULT + share) / 10, (3 - DEFAULT + share) / 10),
        share / 10,
    ]
    bits = sum(-math.log2(p) for p in probabilities) + math.log2(UNICODE_CODE_POINTS)
    result = measure(corpus, "unigram")["unigram"]
    assert result.bits_per_char == pytest.approx(bits / 3, rel=1e-12)
    assert result.kind == "static" and result.order == 1


def test_order_of_ngram_is_chosen_on_validation(tmp_path: Path) -> None:
    """Another order would be better on test."""
    draw = random.Random(1)
    train = "".join(draw.choice(("axc", "bxd")) for _ in range(600))
    corpus = corpus_of(tmp_path, train, "axcbxd" * 50, "".join(draw.choices("abcdx", k=300)))

    def bits(split: str, order: int) -> float:
        ids = corpus.split(split).astype(np.int64)
        positions = np.arange(len(ids))
        nats = ngram.token_nll(corpus.split("train"), ids, positions, corpus.vocabulary.size, order)
        return float(nats.mean()) / math.log(2)

    best, best_on_test = (
        min(range(2, 9), key=lambda order: bits(split, order)) for split in ("valid", "test")
    )
    assert best != best_on_test
    result = measure(corpus, "n-gram")["n-gram"]
    assert (result.order, result.max_order, result.selection_tokens) == (best, 8, 300)
    assert result.bits_per_char == pytest.approx(bits("test", best), rel=1e-12)
    assert result.is_at_edge == (best == 8)
    for order, cost in enumerate(result.bits_by_order, start=1):
        assert cost == pytest.approx(bits("test", order), rel=1e-12)


def test_highest_order_is_at_the_edge(tmp_path: Path) -> None:
    text = prose(4000)
    result = measure(corpus_of(tmp_path, text, text, text), "n-gram")["n-gram"]
    assert result.order == result.max_order == 8 and result.is_at_edge


def test_order_is_chosen_in_all_of_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans are spread over it, and each begins without a context."""
    monkeypatch.setattr(ngram_baseline, "SELECTION_TOKENS", 640)
    ids, begins = ngram_baseline._selection(np.arange(6400))
    assert ids.reshape(32, 20).tolist() == [[200 * i + j for j in range(20)] for i in range(32)]
    assert begins.tolist() == [20 * (i // 20) for i in range(640)]
    ids, begins = ngram_baseline._selection(np.arange(640))
    assert ids.tolist() == list(range(640)) and not begins.any()


def test_ngram_of_what_a_run_has_read(tmp_path: Path) -> None:
    """It is measured if that is less than train, and cached by how much it is."""
    corpus = corpus_of(tmp_path, prose(6000), prose(600, 1), prose(600, 2))
    names = ["unigram", "n-gram"]
    part, less = (
        measure_baselines(corpus, tmp_path, names, characters_read=read) for read in (3000, 800)
    )
    assert [result.name for result in part] == ["unigram", "n-gram", "n-gram-read"]
    assert part[:2] == less[:2] and (part[2].training_tokens, less[2].training_tokens) == (
        3000,
        800,
    )
    assert bits_per_char(part[1]) < bits_per_char(part[2]) < bits_per_char(less[2])
    assert measure_baselines(corpus, tmp_path, names, characters_read=3000) == part
    for read in (None, 6000):
        assert measure_baselines(corpus, tmp_path, names, characters_read=read) == part[:2]


def test_memory_of_the_ngram_ends_at_its_order(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, prose(6000), prose(600, 1), prose(600, 2))
    result = measure(corpus, "n-gram")["n-gram"]
    assert result.order is not None
    lengths = (0, 1, result.order - 1, result.order, 64)
    lost = dict(ngram_memory(corpus, lengths))
    unigram = measure(corpus, "unigram")["unigram"]
    assert lost[0] == pytest.approx(bits_per_char(unigram) - bits_per_char(result), rel=1e-9)
    assert 0 < lost[1] < lost[0]
    assert lost[result.order - 1] == lost[result.order] == lost[64] == 0


def test_long_training_text_is_counted_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ngram, "MAX_TRAINING_TOKENS", 1000)
    corpus = corpus_of(tmp_path, "a" * 5000 + "b" * 1000, "ab", "b" * 100)
    results = measure(corpus, "unigram", "n-gram")
    assert bits_per_char(results["unigram"]) < 0.01
    for result in results.values():
        assert result.training_tokens == 1000 and result.training_is_partial


def test_compressor_costs_what_test_adds_to_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoded_text, "CHUNK_BYTES", 1000)  # they are fed in chunks
    train, test = "é" + prose(20000), prose(3000, seed=1) + "☃"
    xz_filter = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    compressors = {
        "gzip": lambda data: gzip.compress(data, 9),
        "bz2": bz2.compress,
        "xz": lambda data: lzma.compress(data, filters=xz_filter),
    }
    results = measure(corpus_of(tmp_path, train, "valid", test), *compressors)
    for name, compress in compressors.items():
        added = len(compress((train + test).encode())) - len(compress(train.encode()))
        result = results[name]
        assert result.bits_per_char == pytest.approx(8 * added / 3001, rel=1e-3), name
        assert result.bits_per_byte == pytest.approx(8 * added / 3003, rel=1e-3), name
        assert result.kind == "adaptive"
    assert results["bz2"].block_bytes == 900_000


def test_compressor_uses_the_history_that_it_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = random_text(100_000)
    corpus = corpus_of(tmp_path, train, "a", train[:3000])  # 100,000 characters earlier
    results = measure(corpus, "gzip", "xz", "zstd")
    assert results["gzip"].window_bytes == 32 << 10 and bits_per_char(results["gzip"]) > 3
    for name in ("xz", "zstd"):
        assert results[name].window_bytes is None
        assert bits_per_char(results[name]) < 0.1
    monkeypatch.setattr(baselines, "MAX_COMPRESSION_WINDOW", 1 << 16)
    for result in measure(corpus, "xz", "zstd").values():
        assert result.window_bytes == 64 << 10 and bits_per_char(result) > 3


def test_no_more_than_the_window_is_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    compressed_size = baselines._compressed_size

    def recording(compressor: baselines.Compressor, pieces: Iterable[bytes]) -> int:
        chunks = list(pieces)
        sizes.append(sum(map(len, chunks)))
        return compressed_size(compressor, chunks)

    monkeypatch.setattr(baselines, "_compressed_size", recording)
    monkeypatch.setattr(baselines, "MAX_COMPRESSION_WINDOW", 5000)
    measure(corpus_of(tmp_path, prose(20_000), "valid", prose(1000, seed=1)))
    assert len(sizes) >= 6 and set(sizes) == {5000, 6000}


def test_compressor_without_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ZSTD_MODULES:
        monkeypatch.setitem(sys.modules, module, None)
    result = measure(corpus_of(tmp_path, prose(2000), "valid", "test"), "zstd")["zstd"]
    assert result.bits_per_char is None and result.bits_per_byte is None
    assert result.missing_package == "zstd"


def test_results_are_cached_unless_a_package_was_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "charlm")

    def cached(corpus: Corpus) -> tuple[list[BaselineResult], list[str]]:
        caplog.clear()
        results = measure_baselines(corpus, tmp_path)
        return results, [message.removeprefix("measuring ") for message in caplog.messages]

    corpus = corpus_of(tmp_path, prose(2000), "valid", "test of it")
    with monkeypatch.context() as patched:
        for module in ZSTD_MODULES:
            patched.setitem(sys.modules, module, None)
        without, measured = cached(corpus)
    assert measured == ["uniform", "unigram", "n-gram", "gzip", "bz2", "xz", "zstd"]
    results, measured = cached(corpus)
    assert measured == ["zstd"] and results[:-1] == without[:-1] and bits_per_char(results[-1]) > 0
    assert cached(corpus) == (results, [])
    other = corpus_of(tmp_path, prose(2000), "valid", "a test")
    assert cached(other)[1][0] == "uniform" and cached(corpus) == (results, [])


def test_invalid_utf8_is_measured_per_byte(tmp_path: Path) -> None:
    data = bytes(random.Random(2).choices(range(256), k=3000)).decode("utf-8", "surrogateescape")
    corpus = corpus_of(tmp_path, data, data[:200], data[:200], vocab="bytes")
    results = measure(corpus)
    assert list(results) == list(BASELINES)
    for result in results.values():
        assert result.bits_per_char is None, result
        assert result.bits_per_byte is not None and result.bits_per_byte > 0
    assert results["uniform"].bits_per_byte == 8


def test_baseline_is_added_by_one_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "BASELINES", dict(BASELINES))

    @register_baseline("none", kind="static")
    def free(corpus: Corpus) -> baselines.Measurement:
        return float(len(corpus.split("test"))), BaselineDetails(order=0)

    corpus = corpus_of(tmp_path, prose(2000), "valid", "test")
    (result,) = measure_baselines(corpus, names=["none"])
    assert (result.name, result.kind, result.bits_per_char) == ("none", "static", 1.0)


def test_unknown_baseline_is_refused(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, prose(2000), "valid", "test")
    with pytest.raises(ConfigError, match="unknown baseline 'gzib'; did you mean gzip"):
        measure_baselines(corpus, names=["gzib"])
