"""Encoded text: lossless ids, cached by content, errors with their position."""

import hashlib
import io
import random
import re
from functools import partial

import pytest

from charlm.data import encoded_text, sources
from charlm.data.encoded_text import EncodedText
from charlm.data.sources import TextSource
from charlm.data.vocabulary import BYTE_VOCABULARY, Vocabulary
from charlm.errors import DataError
from charlm.results.text import TextNote, VocabularyRule

ALL = VocabularyRule()  # every character


def encode(
    data: bytes, vocabulary: Vocabulary | VocabularyRule = ALL, name: str = "x"
) -> EncodedText:
    return encoded_text.encode([[TextSource(name, lambda: io.BytesIO(data))]], vocabulary)


def test_any_text_is_encoded_losslessly() -> None:
    draw = random.Random(3)
    ranges = [(1, 0x7F), (0x80, 0x7FF), (0x800, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF)]
    for length in [1, 2, 17, 300, 1500] * 2:
        text = "".join(chr(draw.randint(*draw.choice(ranges))) for _ in range(length))
        data = text.encode()
        known = Vocabulary("chars", (ord("e"), ord(text[-1])))
        for vocabulary in (ALL, VocabularyRule("1/2", 0.1), BYTE_VOCABULARY, known):
            if vocabulary == VocabularyRule("1/2", 0.1) and length > 17:
                continue  # no character is that frequent
            encoding = encode(data, vocabulary)
            kind = "bytes" if vocabulary == BYTE_VOCABULARY else "chars"
            assert b"".join(encoding.iter_bytes(0, encoding.size, kind)) == data
            if kind == "chars":
                assert encoding.text(0, encoding.size) == text
                complete = Vocabulary(kind, encoding.metadata.tokens)
                assert encoding.ids.tolist() == complete.encode(text)
                unknown = sum(ord(c) not in complete.tokens for c in text)
                assert encoding.count_unknown(0, encoding.size) == unknown
            assert encoding.metadata.digest.sha256 == hashlib.sha256(data).hexdigest()
            counts = encoding.count_characters_and_bytes(0, encoding.size, kind)
            assert counts == (len(text), len(data))
            assert encoding.sha256(0, encoding.size, kind) == hashlib.sha256(data).hexdigest()


def test_ids_follow_first_appearance_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(chr(c) for c in range(0x4E00, 0x4E00 + 400)) * 2 + "a"
    monkeypatch.setattr(sources, "CHUNK_BYTES", 7)  # cuts characters of three bytes
    monkeypatch.setattr(encoded_text, "CHUNK_BYTES", 5)
    encoding = encode(text.encode())
    assert encoding.ids.tolist() == [*range(400), *range(400), 400]
    assert encoding.metadata.id_bytes == 2
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    assert encoding.sha256(0, encoding.size, "chars") == sha256
    in_bytes = encode(text.encode(), BYTE_VOCABULARY)
    for cut in (0, 1, 399, 801):
        assert in_bytes.token_offset(cut, "bytes") == len(text[:cut].encode())


def test_more_than_65536_tokens_get_wider_ids() -> None:
    points = [c for c in range(1, 70000) if not 0xD800 <= c < 0xE000]
    encoding = encode("".join(map(chr, points)).encode())
    assert encoding.metadata.id_bytes == 4
    assert encoding.ids.tolist() == list(range(len(points)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b"line one\nab\xff",
            "not UTF-8 at byte 11 (line 2, column 3). It looks like ",
        ),
        ("né\n".encode() + b"x\xc3", "not UTF-8 at byte 5 (line 2, column 2)"),
        (
            "hello".encode("utf-16"),
            "x looks like UTF-16. Try iconv -f utf-16 -t utf-8, or --vocab bytes",
        ),
        (b"one\ntwo\0", "has a NUL on line 2. Try --vocab bytes"),
        (b"\xed\xa0\x80", "not UTF-8 at byte 0"),
    ],
)
def test_invalid_text_is_refused_with_its_position(
    monkeypatch: pytest.MonkeyPatch, data: bytes, message: str
) -> None:
    for chunk in (4096, 2):  # the position is right, too, if the text comes in chunks
        monkeypatch.setattr(sources, "CHUNK_BYTES", chunk)
        with pytest.raises(DataError, match=re.escape(message)):
            encode(data)
        assert encode(data, BYTE_VOCABULARY).ids.tolist() == list(data)


def test_valid_oddities_are_kept_and_noted() -> None:
    encoding = encode(b"\xef\xbb\xbfone\r\ntwo\r\n", name="w.txt")
    assert encoding.metadata.characters == 11
    assert encoding.metadata.notes == (TextNote("bom", "w.txt"), TextNote("crlf", "w.txt"))
    (note,) = encode(b"one\rtwo\r", name="m.txt").metadata.notes
    assert note == TextNote("cr", "m.txt")
    (note,) = encode(b"a\xff", BYTE_VOCABULARY).metadata.notes
    assert note.kind == "not_utf8"


def test_line_ends_are_noted_wherever_a_chunk_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    for chunk in (1, 2, 4096):
        monkeypatch.setattr(sources, "CHUNK_BYTES", chunk)
        kinds = [
            [note.kind for note in encode(data).metadata.notes] for data in (b"a\r\nb\r\n", b"a\rb")
        ]
        assert kinds == [["crlf"], ["cr"]]


def test_files_without_a_line_end_are_counted() -> None:
    files = [("a", b"one\n"), ("b", b"two"), ("c", b""), ("d", b"four"), ("e", b"five")]
    parts = [[TextSource(name, partial(io.BytesIO, data)) for name, data in files]]
    assert encoded_text.encode(parts, ALL).metadata.notes == (TextNote("glued", "b", files=2),)
    one_each = [[source] for source in parts[0]]  # a file to train on, and one to validate on
    assert encoded_text.encode(one_each, ALL).metadata.notes == ()
    cut = [[source.excerpt(0, 2) for source in parts[0]]]  # its end is not the end of a file
    assert encoded_text.encode(cut, ALL).metadata.notes == ()


def test_rare_characters_are_unknown_by_their_share_of_train() -> None:
    """Train is the first half: b makes up 1 % of it, and what follows has no say."""
    text = "a" * 197 + "bbc" + "c" * 200
    encoding = encode(text.encode(), VocabularyRule("1/2", 0.01))
    assert encoding.metadata.tokens == (ord("a"), ord("b"))
    assert encoding.ids[195:202].tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert (encoding.metadata.unknown, encoding.count_unknown(0, 200)) == (201, 1)
    assert encode(text.encode(), VocabularyRule("1/2", 0.011)).metadata.tokens == (ord("a"),)
    with pytest.raises(DataError, match="none of its 2 characters makes up 0.6"):
        encode(b"ab", VocabularyRule("1", 0.6))
