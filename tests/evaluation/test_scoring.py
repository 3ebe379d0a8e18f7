"""The exact score: every character once, whatever training did; and what an unseen one costs."""

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, make_run, prose
from torch.nn.functional import cross_entropy

from charlm.config import validate_config
from charlm.data.corpus import Corpus, load_corpus
from charlm.data.encoded_text import encode
from charlm.data.sources import resolve_sources
from charlm.errors import DataError, DivergedError
from charlm.evaluation import generation as sampling
from charlm.evaluation.scoring import evaluate, iter_token_nll, validation_bpc
from charlm.models.build import build_char_lm
from charlm.models.char_lm import CharLM

pass


def scored(
    path: Path, text: str | bytes, train: str = "", **settings: object
) -> tuple[dict, CharLM]:
    """The score of a text under an untrained model of an alphabet; and the model."""
    (path / "train.txt").write_text((train or prose(2000)) * 2)
    (path / "text.txt").write_bytes(text.encode() if isinstance(text, str) else text)
    config = validate_config({**TINY, **settings})
    alphabet = load_corpus([str(path / "train.txt")], config).vocabulary
    model = build_char_lm(config, alphabet.size, "loop", "cpu")
    torch.manual_seed(0)
    torch.nn.init.normal_(model.bias)
    encoding = encode([resolve_sources([str(path / "text.txt")], "")], alphabet)
    return evaluate(model, alphabet, encoding, (0, encoding.size)), model


def by_hand(model: CharLM, ids: list[int]) -> float:
    """Nats of the ids, one step at a time, from the start state: the definition."""
    model = model.double().eval()
    total = 0.0
    with torch.no_grad():
        state = model.initial_state(1)
        for symbol in ids:
            logits = model.next_token_logits(state)
            total += float(cross_entropy(logits, torch.tensor([symbol])))
            _, state = model(torch.tensor([[symbol]]), state)
    return total


def test_the_score_is_its_definition(tmp_path: Path) -> None:
    """Every character once, the first from the start state; summed, then divided once."""
    text = prose(700, seed=5)
    found, model = scored(tmp_path, text, start="learned", num_layers=2)
    alphabet = load_corpus([str(tmp_path / "train.txt")], validate_config(TINY)).vocabulary
    nats = by_hand(model, alphabet.encode(text))
    assert found["nats_per_char"] == pytest.approx(nats / 700, rel=1e-6)
    assert found["bits_per_char"] == pytest.approx(nats / 700 / math.log(2), rel=1e-6)
    assert found["bits_per_byte"] == found["bits_per_char"]  # all of it is ASCII
    assert (found["characters"], found["bytes"], found["unseen"]) == (700, 700, 0)
    assert found["protocol"] == "one-stream"
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    assert found["corpus_sha256"] == found["text_sha256"] == sha256


def test_one_character_is_a_text(tmp_path: Path) -> None:
    found, model = scored(tmp_path, "T")
    alphabet = load_corpus([str(tmp_path / "train.txt")], validate_config(TINY)).vocabulary
    chances = (
        model.bias.detach().double().softmax(0)
    )  # the start state is zero: only the bias speaks
    assert found["nats_per_char"] == pytest.approx(-math.log(chances[alphabet.encode("T")[0]]))


def test_an_empty_text_has_no_score(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to score"):
        scored(tmp_path, "")


def test_an_unseen_character_costs_the_escape_and_one_of_all_code_points(tmp_path: Path) -> None:
    text = "The cat é sees \0 a house."  # a NUL, too, is a character that can be scored
    found, model = scored(tmp_path, text)
    alphabet = load_corpus([str(tmp_path / "train.txt")], validate_config(TINY)).vocabulary
    ids = alphabet.encode(text)
    assert ids.count(alphabet.unk_id) == 2 == found["unseen"]
    nats = by_hand(model, ids) + 2 * math.log(1_114_112)
    assert found["nats_per_char"] == pytest.approx(nats / len(text), rel=1e-6)
    assert found["characters"] == len(text)
    assert found["bytes"] == len(text.encode()) == len(text) + 1
    assert found["bits_per_byte"] == pytest.approx(
        found["bits_per_char"] * len(text) / len(text.encode())
    )


def test_bytes_and_characters_are_scored_in_both_units(tmp_path: Path) -> None:
    text = "The cät sees é."
    found, model = scored(tmp_path, text, vocab="bytes")
    nats = by_hand(model, list(text.encode()))
    assert (found["characters"], found["bytes"], found["symbols"]) == (15, 17, 17)
    assert found["nats_per_char"] == pytest.approx(nats / 15, rel=1e-6)
    assert found["bits_per_byte"] == pytest.approx(nats / 17 / math.log(2), rel=1e-6)
    assert found["unseen"] == 0


def test_bytes_that_are_not_text_have_no_bits_per_character(tmp_path: Path) -> None:
    found, _ = scored(tmp_path, b"The \xff\xfe\x00 cat", vocab="bytes")
    assert found["bits_per_char"] is None and found["characters"] is None
    assert found["bits_per_byte"] > 0


def test_the_blocks_of_a_text_are_what_it_costs_wherever_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = prose(3100, seed=5)
    monkeypatch.setattr(evaluate, "CALL", 700)
    found, model = scored(tmp_path, text)
    alphabet = load_corpus([str(tmp_path / "train.txt")], validate_config(TINY)).vocabulary
    assert found["block_lengths"] == [1033, 1033, 1034]
    first = by_hand(model, alphabet.encode(text[:1033])) / math.log(2)
    assert found["block_bits"][0] == pytest.approx(first, rel=1e-6)
    assert sum(found["block_bits"]) / 3100 == pytest.approx(found["bits_per_char"], rel=1e-12)


@pytest.mark.parametrize("unit", ["char", "byte"])
def test_the_lengths_of_blocks_are_in_the_unit_of_the_score(tmp_path: Path, unit: str) -> None:
    text = ("é☃" * 1000).encode() + (b"\xff" if unit == "byte" else b"")
    found, _ = scored(tmp_path, text, vocab="bytes")
    lengths = found["block_lengths"]
    assert len(lengths) == 5 and sum(lengths) == (2000 if unit == "char" else 5001)
    bits = sum(found["block_bits"]) / sum(lengths)
    assert bits == pytest.approx(found[f"bits_per_{unit}"], rel=1e-12)


def test_the_score_knows_nothing_of_how_training_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = prose(3000, seed=5)
    usual, _ = scored(tmp_path, text, batch=4, time=16, dropout=0.5)
    other, _ = scored(tmp_path, text, batch=2, time=64, dropout=0.0)
    assert usual == other
    monkeypatch.setattr(evaluate, "CALL", 7)  # nor of how many characters a call reads
    cut, _ = scored(tmp_path, text)
    assert cut["nats_per_char"] == pytest.approx(usual["nats_per_char"], rel=1e-6)


def test_the_state_is_carried_through_the_whole_text(tmp_path: Path) -> None:
    """A model that knows only what it read 5,000 characters ago still knows it."""
    text = "a" + "b" * 5000
    config = validate_config({**TINY, "cell": "rnn", "hidden_size": 1, "embedding_dim": 1})
    (tmp_path / "t.txt").write_text("ab" * 100)
    alphabet = load_corpus([str(tmp_path / "t.txt")], config).vocabulary
    model = build_char_lm(config, alphabet.size, "loop", "cpu").eval()
    (cell,) = model.cells
    with torch.no_grad():
        model.embed.weight.copy_(torch.tensor([[1.0], [0.0], [0.0]]))
        cell.W.weight.fill_(10.0)  # "a" sets the unit, and nothing clears it
        cell.W.bias.zero_()
        cell.U.weight.fill_(3.0)
        assert model.weight is not None
        model.weight.copy_(torch.tensor([[-5.0], [5.0], [-5.0]]))
        model.bias.zero_()
    ids = np.array(alphabet.encode(text))[:, None]
    last = list(iter_token_nll(model, ids, alphabet))[-1]
    assert float(last[-1, 0]) < 1e-3
    without = list(iter_token_nll(model, ids[1:], alphabet))[-1]
    assert float(without[-1, 0]) > 1


def test_evaluation_uses_no_dropout_and_leaves_training_on(tmp_path: Path) -> None:
    first, model = scored(tmp_path, prose(500), dropout=0.9)
    model.train()
    again, other = scored(tmp_path, prose(500), dropout=0.9)
    assert first == again
    other.train()
    validation_bpc(other, np.zeros(200, dtype=np.int64), load_alphabet(tmp_path))
    assert other.training


def test_between_two_looks_gradients_are_as_they_were(tmp_path: Path) -> None:
    _, model = scored(tmp_path, "The")
    alphabet = load_alphabet(tmp_path)
    for looking in (
        iter_token_nll(model, np.zeros((5000, 1), dtype=np.uint8), alphabet),
        sampling.generate(model, alphabet, "The", 3),
    ):
        for _ in looking:
            assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def load_alphabet(path: Path):
    return load_corpus([str(path / "train.txt")], validate_config(TINY)).vocabulary


def test_the_quick_look_reads_many_streams_and_counts_the_escape_too(tmp_path: Path) -> None:
    _, model = scored(tmp_path, "The")
    alphabet = load_alphabet(tmp_path)
    ids = np.array(alphabet.encode(prose(64 * 3, seed=2)))
    streams = ids.reshape(3, 64).T
    nats = sum(by_hand(model, list(stream)) for stream in streams.T.tolist())
    model.float()
    assert validation_bpc(model, ids, alphabet) == pytest.approx(nats / math.log(2) / 192, rel=1e-5)
    unseen = ids.copy()
    unseen[5] = alphabet.unk_id + 3  # of the corpus, but not of its training split
    assert alphabet.unk_cost_nats / math.log(2) / 192 < validation_bpc(model, unseen, alphabet)


def test_the_fused_kernels_score_as_the_loop_does(tmp_path: Path, book: Path) -> None:
    for cell in ("rnn", "gru", "lstm"):
        run, corpus, config = make_run(tmp_path / cell, book, cell=cell, hidden_size=32)
        bits = [
            whole(build_char_lm(config, run.vocabulary.size, kernel, "cpu"), corpus)
            for kernel in ("loop", "fused")
        ]
        assert bits[0] == pytest.approx(bits[1], rel=1e-6)


def whole(model: CharLM, corpus: Corpus) -> float:
    found = evaluate(model, corpus.vocabulary, corpus.encoding, corpus.record.splits["test"])
    bits = found["bits_per_char"]
    assert bits is not None
    return bits


# sampling


def drawn(logits: list[float], **how: float) -> set[int]:
    generator = torch.Generator().manual_seed(0)
    usual = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, **how}
    return {
        sampling.sample_token(torch.tensor(logits), **usual, generator=generator)  # type: ignore[arg-type]
        for _ in range(300)
    }


def test_sampling_draws_what_evaluation_expects() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -torch.inf])
    generator = torch.Generator().manual_seed(0)
    counts = np.bincount(
        [sampling.sample_token(logits, 1.0, 0, 1.0, generator) for _ in range(20000)], minlength=4
    )
    wanted = logits.softmax(0).numpy()
    assert counts[3] == 0
    assert np.abs(counts / 20000 - wanted).max() < 0.01


@pytest.mark.parametrize("wild", [math.nan, math.inf])
def test_a_model_gone_astray_neither_writes_nor_has_a_score(tmp_path: Path, wild: float) -> None:
    with pytest.raises(DivergedError, match="expectations are not finite"):
        drawn([0.0, wild])
    _, model = scored(tmp_path, "The")
    with torch.no_grad():
        model.bias.fill_(wild)
    alphabet = load_alphabet(tmp_path)
    encoding = encode([resolve_sources([str(tmp_path / "text.txt")], "")], alphabet)
    with pytest.raises(DivergedError, match="the score is"):
        evaluate(model, alphabet, encoding, (0, 3))


def test_temperature_top_k_and_top_p_keep_what_they_say() -> None:
    logits = [3.0, 2.0, 1.0, 0.0]  # chances .644, .237, .087, .032
    assert drawn(logits) == {0, 1, 2, 3}
    assert drawn(logits, temperature=0.0) == {0}
    assert drawn(logits, temperature=1e-300) == {0}  # and nothing overflows
    assert drawn([1e30, 0.0], temperature=1e-30) == {0}
    assert drawn(logits, top_k=2) == {0, 1}
    assert drawn(logits, top_k=1) == {0}
    assert drawn(logits, top_k=99) == {0, 1, 2, 3}
    assert drawn(logits, top_p=0.6) == {0}
    assert drawn(logits, top_p=0.65) == {0, 1}
    assert drawn(logits, top_p=0.0) == {0}
    assert drawn(logits, top_p=0.9, top_k=2) == {0, 1}
    assert drawn(logits, top_p=0.72, top_k=2) == {0}  # shares of what top_k has left


def test_a_sample_carries_the_true_state_and_never_writes_the_escape(tmp_path: Path) -> None:
    """Greedy writing is the argmax of the logits of all that was read and written so far."""
    _, model = scored(tmp_path, "The", hidden_size=16)
    alphabet = load_alphabet(tmp_path)
    with torch.no_grad():
        model.bias[alphabet.unk_id] = 100.0
    prompt = "The 漢 dog\n"
    text = b"".join(sampling.generate(model, alphabet, prompt, 30, temperature=0.0)).decode()
    assert len(text) == 30  # the prompt is not counted
    ids = alphabet.encode(prompt + text)
    logits, _ = model(torch.tensor(ids)[:, None], model.initial_state(1))
    logits[..., alphabet.unk_id] = -torch.inf
    wanted = logits[len(prompt) - 1 : -1, 0].argmax(-1)
    assert alphabet.encode(text) == wanted.tolist()


def test_the_same_seed_writes_the_same_text_however_many_are_asked_for(tmp_path: Path) -> None:
    _, model = scored(tmp_path, "The")
    alphabet = load_alphabet(tmp_path)

    def text(**how: int) -> bytes:
        return b"".join(sampling.generate(model, alphabet, "", 50, **how))  # type: ignore[arg-type]

    assert text(seed=1) == text(seed=1) != text(seed=2)
    assert text(seed=1, number=1) == text(seed=1, number=1) != text(seed=1)
    assert b"\n" in text(seed=1) + text(seed=2) + text(seed=3)
