"""Text in: from wherever it comes, exactly as it is, cut and numbered without a look ahead."""

import bz2
import gzip
import hashlib
import io
import lzma
import math
import random
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import prose

from charlm.config import parse_split_ratios, validate_config
from charlm.data import encoded_text, sources
from charlm.data.corpus import Corpus, load_corpus, reload_corpus
from charlm.data.encoded_text import EncodedText, encode
from charlm.data.sources import TextSource, resolve_sources
from charlm.data.vocabulary import BYTE_VOCABULARY, UNICODE_CODE_POINTS, Vocabulary
from charlm.errors import ConfigError, DataError, InputNotFoundError


def text_of(found: list[TextSource]) -> bytes:
    return b"".join(chunk for one in found for chunk in one.chunks())


def encode(data: bytes, known: Vocabulary | None = None, name: str = "x") -> EncodedText:
    return encode([[TextSource(name, lambda: io.BytesIO(data))]], known)


def corpus_of(path: Path, data: bytes | str, **settings: object) -> Corpus:
    file = path / "text.txt"
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    return load_corpus([str(file)], validate_config(settings))


def decoded(corpus: Corpus, split: str) -> str:
    start, end = corpus.record.splits[split]
    symbols = corpus.encoding.metadata.tokens
    return "".join(chr(symbols[i]) for i in corpus.encoding.ids[start:end])


# sources


def test_files_directories_and_their_compressed_kinds_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "a.txt").write_bytes(b"one\r\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"two"))
    (tmp_path / "c.xz").write_bytes(lzma.compress(b"three"))
    (tmp_path / "c.bz2").write_bytes(bz2.compress(b"four"))
    (tmp_path / "d" / "z.txt").write_bytes(b"six")
    (tmp_path / "d" / "e" / "y.txt").write_bytes(b"five")
    (tmp_path / "d" / "other.md").write_bytes(b"no")
    names = [str(tmp_path / name) for name in ("a.txt", "b.txt.gz", "c.xz", "c.bz2", "d")]
    assert text_of(resolve_sources(names, "**/*.txt")) == b"one\r\ntwothreefourfivesix"
    assert text_of(resolve_sources(names[-1:], "*.md")) == b"no"


def test_standard_input_can_be_read_more_than_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given = io.TextIOWrapper(io.BytesIO(b"from a pipe"))
    monkeypatch.setattr("sys.stdin", given)
    found = resolve_sources(["-"], "")
    assert text_of(found) == text_of(found) == b"from a pipe"


@pytest.mark.parametrize("name", sources.NAMED_CORPORA)
def test_the_named_corpora_are_on_every_machine(name: str) -> None:
    data = text_of(resolve_sources([name], ""))
    assert data == text_of(resolve_sources([name], ""))
    least, most = {"python-docs": (0.3e6, 0.9e6), "python-source": (8e6, 25e6)}[name]
    assert least < len(data.decode()) < most


@pytest.mark.parametrize("cut", [5, 20])
@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_truncated_or_false_archive_is_bad_data(tmp_path: Path, kind: str, cut: int) -> None:
    packed = {"gz": gzip, "bz2": bz2, "xz": lzma}[kind].compress(prose(3000).encode())
    for data in (packed[:-cut], b"plain text"):
        file = tmp_path / f"x.{kind}"
        file.write_bytes(data)
        with pytest.raises(DataError, match=f"x.{kind} cannot be unpacked"):
            text_of(resolve_sources([str(file)], ""))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="no file nowhere.txt.*python-docs, python-source"):
        resolve_sources(["nowhere.txt"], "")
    with pytest.raises(
        InputNotFoundError, match=r"matches \*\*/\*\.txt: choose others with --glob"
    ):
        resolve_sources([str(tmp_path)], "**/*.txt")


# encoding


def test_any_text_comes_back_exactly() -> None:
    draw = random.Random(3)
    ranges = [(1, 0x7F), (0x80, 0x7FF), (0x800, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF)]
    for length in [1, 2, 17, 300] * 20:
        text = "".join(chr(draw.randint(*draw.choice(ranges))) for _ in range(length))
        data = text.encode()
        for known in (None, BYTE_VOCABULARY, Vocabulary("chars", (ord("e"), ord("a")))):
            kept = encode(data, known)
            kind = "bytes" if known == BYTE_VOCABULARY else "characters"
            whole = Vocabulary(kind, kept.facts.symbols)
            assert whole.decode(kept.ids) == data
            assert kept.facts.digest.sha256 == hashlib.sha256(data).hexdigest()
            assert kept.count_characters_and_bytes(0, kept.size, kind) == (len(text), len(data))
            assert kept.sha256(0, kept.size, kind) == hashlib.sha256(data).hexdigest()


def test_ids_are_given_in_order_of_first_appearance_across_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "".join(chr(c) for c in range(0x4E00, 0x4E00 + 400)) * 2 + "a"
    monkeypatch.setattr(sources, "CHUNK_BYTES", 7)  # cuts characters of three bytes
    monkeypatch.setattr(encoded_text, "CHUNK_BYTES", 5)
    kept = encode(text.encode())
    assert kept.ids.tolist() == [*range(400), *range(400), 400]
    assert kept.facts.first_positions == (*range(400), 800)
    assert kept.facts.width == 2
    assert kept.sha256(0, kept.size, "characters") == hashlib.sha256(text.encode()).hexdigest()
    held = encode(text.encode(), BYTE_VOCABULARY)
    for cut in (0, 1, 399, 801):
        assert held.token_offset(cut, "bytes") == len(text[:cut].encode())


def test_more_symbols_than_sixteen_bits_hold_get_wider_ids() -> None:
    points = [c for c in range(1, 70000) if not 0xD800 <= c < 0xE000]
    kept = encode("".join(map(chr, points)).encode())
    assert kept.facts.width == 4 and kept.ids.tolist() == list(range(len(points)))


def test_the_cache_is_keyed_by_content_and_mends_itself(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("first" * 20)
    one = load_corpus([str(file)], validate_config({}))
    file.write_text("other" * 20)  # same name, same length
    two = load_corpus([str(file)], validate_config({}))
    assert decoded(one, "train") == "first" * 18 and decoded(two, "train") == "other" * 18
    path = two.encoding.path
    path.write_bytes(b"\1" * path.stat().st_size)
    assert decoded(load_corpus([str(file)], validate_config({})), "train") == "other" * 18


def test_the_users_file_may_vanish_while_its_text_is_in_use(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, prose(5000))
    (tmp_path / "text.txt").write_bytes(b"")
    assert decoded(corpus, "train") == prose(5000)[:4500]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"line one\nab\xff", "not UTF-8 at byte 11 (line 2, column 3): convert it"),
        ("né\n".encode() + b"x\xc3", "not UTF-8 at byte 5 (line 2, column 2)"),
        ("hello".encode("utf-16"), "line 1, column 1): it looks like UTF-16: convert it with icon"),
        (b"one\ntwo\0", "has a NUL on line 2: it is not text. Read it with --vocab bytes"),
        (b"\xed\xa0\x80", "not UTF-8 at byte 0"),
    ],
)
def test_what_is_not_text_is_refused_at_its_place(
    monkeypatch: pytest.MonkeyPatch, data: bytes, says: str
) -> None:
    for chunk in (4096, 2):  # the place is told right when the text comes in pieces, too
        monkeypatch.setattr(sources, "CHUNK_BYTES", chunk)
        with pytest.raises(DataError, match=re.escape(says)):
            encode(data)
        assert encode(data, BYTE_VOCABULARY).ids.tolist() == list(data)


def test_odd_but_sound_text_is_kept_and_noted() -> None:
    kept = encode(b"\xef\xbb\xbfone\r\ntwo\r\n", name="w.txt")
    assert kept.facts.characters == 11
    assert [note.split(":")[0] for note in kept.facts.notes] == [
        "w.txt begins with a byte order mark",
        "w.txt ends lines with CRLF",
    ]
    assert "bytes" in encode(b"a\xff", BYTE_VOCABULARY).facts.notes[0]


# splits and alphabets


def test_splits_are_contiguous_exact_and_decided_in_characters(tmp_path: Path) -> None:
    text = prose(999) + "é" * 112
    characters = corpus_of(tmp_path, text)
    assert decoded(characters, "train") == text[:999]
    assert decoded(characters, "valid") == text[999:1055]
    assert decoded(characters, "test") == text[1055:]
    data = corpus_of(tmp_path, text, vocab="bytes")
    for split in ("train", "valid", "test"):
        assert bytes(data.split(split).tolist()).decode() == decoded(characters, split)
    assert parse_split_ratios("90/5/5") == parse_split_ratios("0.9/0.05/0.05")


def test_the_published_split_of_tiny_shakespeare_is_met_exactly() -> None:
    train, _, _ = parse_split_ratios("90/5/5")
    assert int(1_115_394 * train) == 1_003_854


def test_given_files_are_the_splits_and_the_corpus_is_shared_by_the_rest(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("valid!")
    corpus = corpus_of(tmp_path, prose(950), valid_file=str(tmp_path / "v.txt"))
    assert decoded(corpus, "train") == prose(950)[:900]
    assert decoded(corpus, "valid") == "valid!"
    assert decoded(corpus, "test") == prose(950)[900:]
    assert "!" not in map(chr, corpus.vocabulary.tokens)
    # the same bytes, otherwise divided, are another corpus
    whole = corpus_of(tmp_path, prose(950) + "valid!")
    assert whole.record.digest.sha256 == corpus.record.digest.sha256
    assert whole.record.splits != corpus.record.splits


def test_the_alphabet_is_of_the_training_split_alone(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, "ab" * 45 + "c" * 5 + "d" * 5)
    assert corpus.vocabulary.tokens == (ord("a"), ord("b"))
    assert corpus.vocabulary.unk_id == 2 and corpus.vocabulary.size == 3
    assert corpus.vocabulary.encode("abcz") == [0, 1, 2, 2]
    assert corpus.vocabulary.unk_cost_nats == math.log(1_114_112) == math.log(UNICODE_CODE_POINTS)
    data = corpus_of(tmp_path, "ab" * 45 + "c" * 5 + "d" * 5, vocab="bytes")
    assert data.vocabulary.size == 256 and data.vocabulary.unk_id is None


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "is empty"), ("a", "has 1 characters: too few"), ("abc", "too few to cut into 90/5/5")],
)
def test_too_little_text_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        corpus_of(tmp_path, text)


@pytest.mark.parametrize("split", ["90/10", "a/b/c", "90/0/10", "90/-5/15", "nan/5/5", "1/0/0", ""])
def test_a_split_is_three_positive_shares(split: str) -> None:
    with pytest.raises(ConfigError, match="--split"):
        validate_config({"split_ratios": split})


def test_a_run_knows_its_text_again_or_refuses_another(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, prose(3000))
    config = validate_config({})
    assert np.array_equal(reload_corpus(config, corpus.record).split("test"), corpus.split("test"))
    other = tmp_path / "other.txt"
    other.write_text(prose(3000, seed=1))
    with pytest.raises(DataError, match="is not the text of the run"):
        reload_corpus(config, corpus.record, [str(other)])
    moved = tmp_path / "moved.txt"
    moved.write_text(prose(3000))
    assert np.array_equal(
        reload_corpus(config, corpus.record, [str(moved)]).split("test"), corpus.split("test")
    )
