"""What a text costs without a net, against sums by hand and what compressors themselves say."""

import bz2
import gzip
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
from charlm.evaluation import baselines as house
from charlm.evaluation import ngram
from charlm.evaluation.baselines import Baseline, measure_baselines
from charlm.evaluation.scoring import evaluate
from charlm.models.char_lm import CharLM

pass


def corpus_of(path: Path, train: str, valid: str, test: str, **settings: object) -> Corpus:
    names = {}
    for name, text in (("train", train), ("valid", valid), ("test", test)):
        names[name] = path / f"{name}.txt"
        names[name].write_bytes(text.encode("utf-8", "surrogateescape"))
    given = {"valid_file": str(names["valid"]), "test_file": str(names["test"])}
    return load_corpus([str(names["train"])], validate_config({**TINY, **settings, **given}))


def measured(corpus: Corpus) -> dict[str, Baseline]:
    return {one["name"]: one for one in measure_baselines(corpus)}


def random_text(characters: int, seed: int = 0) -> str:
    return "".join(random.Random(seed).choices("abcdefgh", k=characters))


def test_evenly_is_what_a_model_that_knows_nothing_scores_and_unseen_characters_pay_as_in_a_run(
    tmp_path: Path,
) -> None:
    corpus = corpus_of(tmp_path, "abcabcabca" * 5, "abc", "abé☃a" * 3)
    model = CharLM(validate_config(TINY), corpus.vocabulary.size)
    for weight in model.parameters():
        torch.nn.init.zeros_(weight)
    run = evaluate(model, corpus.vocabulary, corpus.encoding, corpus.record.splits["test"])
    found = measured(corpus)["uniform"]
    assert found["bits_per_char"] == pytest.approx(
        2 + 0.4 * math.log2(UNICODE_CODE_POINTS), rel=1e-12
    )
    for unit in ("bits_per_char", "bits_per_byte"):  # é has 2 bytes, ☃ has 3
        assert found[unit] == pytest.approx(run[unit], rel=1e-6)
    assert found["bits_per_byte"] == pytest.approx(found["bits_per_char"] * 5 / 8, rel=1e-12)


def test_one_character_alone_is_as_by_hand(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, "aaaaaabbbc", "abc", "abz")  # and the escape: four symbols
    left = ngram.DISCOUNT * 3 / 4  # taken from a, b and c, for the four of them
    chances = [(6 - ngram.DISCOUNT + left) / 10, (3 - ngram.DISCOUNT + left) / 10, left / 10]
    bits = sum(-math.log2(chance) for chance in chances) + math.log2(UNICODE_CODE_POINTS)
    found = measured(corpus)["unigram"]
    assert found["bits_per_char"] == pytest.approx(bits / 3, rel=1e-12)
    assert found["protocol"].startswith("static")


def test_the_order_is_chosen_on_validation_though_another_suits_the_test(tmp_path: Path) -> None:
    draw = random.Random(1)
    train = "".join(draw.choice(("axc", "bxd")) for _ in range(600))
    corpus = corpus_of(tmp_path, train, "axcbxd" * 50, "".join(draw.choices("abcdx", k=300)))

    def bits(split: str, order: int) -> float:
        text = corpus.split(split).astype(np.int64)
        at = np.arange(len(text))
        nats = ngram.token_nll(corpus.split("train"), text, at, corpus.vocabulary.size, order)
        return float(nats.mean()) / math.log(2)

    best, other = (min(range(2, 9), key=lambda n: bits(of, n)) for of in ("valid", "test"))
    assert best != other
    found = measured(corpus)["n-gram"]
    assert f"order {best} of 2 to 8 chosen on 300 symbols of valid" in found["protocol"]
    assert found["bits_per_char"] == pytest.approx(bits("test", best), rel=1e-12)


def test_of_a_long_text_the_last_part_is_counted_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house, "COUNTED", 1000)
    found = measured(corpus_of(tmp_path, "a" * 5000 + "b" * 1000, "ab", "b" * 100))
    assert found["unigram"]["bits_per_char"] < 0.01
    for name in ("unigram", "n-gram"):
        assert "the last 1,000 of train" in found[name]["protocol"]


def test_compressors_cost_what_the_test_split_adds_to_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoded_text, "CHUNK_BYTES", 1000)  # they are fed piece by piece
    train, test = "é" + prose(20000), prose(3000, seed=1) + "☃"
    found = measured(corpus_of(tmp_path, train, "valid", test))
    best = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    packers = {
        "gzip": lambda data: gzip.compress(data, 9),
        "bz2": bz2.compress,
        "xz": lambda data: lzma.compress(data, filters=best),
    }
    for name, packed in packers.items():
        added = len(packed((train + test).encode())) - len(packed(train.encode()))
        assert found[name]["bits_per_char"] == pytest.approx(8 * added / 3001, rel=1e-3), name
        assert found[name]["bits_per_byte"] == pytest.approx(8 * added / 3003, rel=1e-3), name
        assert found[name]["protocol"].startswith("adaptive: C(train + test) - C(train)")


def test_a_compressor_looks_as_far_back_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = random_text(100_000)
    corpus = corpus_of(tmp_path, train, "a", train[:3000])  # 100,000 back
    found = measured(corpus)
    assert "32 KiB back" in found["gzip"]["protocol"] and found["gzip"]["bits_per_char"] > 3
    for name in ("xz", "zstd"):
        assert "back at all of it" in found[name]["protocol"]
        assert found[name]["bits_per_char"] < 0.1
    monkeypatch.setattr(house, "MAX_COMPRESSION_WINDOW", 1 << 16)
    for name, short in measured(corpus).items():
        if name in ("xz", "zstd"):
            assert "looks 64 KiB back" in short["protocol"] and short["bits_per_char"] > 3


def test_no_more_of_a_long_text_is_packed_than_is_looked_back_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    packed = house._compressed_size

    def counted(packer: house.Compressor, pieces: Iterable[bytes]) -> int:
        whole = list(pieces)
        sizes.append(sum(map(len, whole)))
        return packed(packer, whole)

    monkeypatch.setattr(house, "_packed", counted)
    monkeypatch.setattr(house, "MAX_COMPRESSION_WINDOW", 5000)
    measured(corpus_of(tmp_path, prose(20_000), "valid", prose(1000, seed=1)))
    assert len(sizes) >= 6 and set(sizes) == {5000, 6000}


def test_a_compressor_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("backports.zstd", "compression.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    found = measured(corpus_of(tmp_path, prose(2000), "valid", "test"))["zstd"]
    assert found["bits_per_char"] is None and found["bits_per_byte"] is None
    assert found["protocol"] == "not installed: pip install 'charlm[zstd]'"


def test_what_is_kept_is_not_measured_again_unless_it_was_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept(corpus: Corpus) -> tuple[list[Baseline], list[str]]:
        begun: list[str] = []
        return house.load_or_measure_baselines(corpus, tmp_path, begun.append), begun

    corpus = corpus_of(tmp_path, prose(2000), "valid", "test of it")
    with monkeypatch.context() as patched:
        for name in ("backports.zstd", "compression.zstd"):
            patched.setitem(sys.modules, name, None)
        without, begun = kept(corpus)
    assert begun == ["uniform", "unigram", "n-gram", "gzip", "bz2", "xz", "zstd"]
    found, begun = kept(corpus)
    assert begun == ["zstd"] and found[:-1] == without[:-1] and found[-1]["bits_per_char"] > 0
    assert kept(corpus) == (found, [])
    other = corpus_of(tmp_path, prose(2000), "valid", "a test")
    assert kept(other)[1][0] == "uniform" and kept(corpus) == (found, [])


def test_bytes_that_are_no_text_are_measured_per_byte(tmp_path: Path) -> None:
    data = bytes(random.Random(2).choices(range(256), k=3000)).decode("utf-8", "surrogateescape")
    corpus = corpus_of(tmp_path, data, data[:200], data[:200], vocab="bytes")
    for one in measure_baselines(corpus):
        assert one["bits_per_char"] is None, one
        assert one["bits_per_byte"] > 0 and one["seconds"] >= 0
    assert measured(corpus)["uniform"]["bits_per_byte"] == 8
