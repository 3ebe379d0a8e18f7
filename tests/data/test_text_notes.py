"""Notes on a text: copies found as by definition, and warnings only where they are true."""

import random
from pathlib import Path
from string import printable

import numpy as np
import pytest
from conftest import prose

from charlm.config import validate_config
from charlm.data import text_notes
from charlm.data.corpus import load_corpus
from charlm.data.text_notes import (
    are_lines_items,
    inspect_text,
    unigram_costs,
    verbatim_mask,
)

DRAW = random.Random(3)


def notes_of(path: Path, text: str, **settings: object) -> dict[str, float]:
    path.write_text(text)
    return {
        note.kind: note.value for note in inspect_text(load_corpus(path, validate_config(settings)))
    }


def random_text(characters: int, seed: int) -> str:
    return "".join(random.Random(seed).choices("abcdefgh \n", k=characters))


@pytest.mark.parametrize("length", [4, 32])
@pytest.mark.parametrize("chunk", [1 << 17, 50])
def test_matches_equal_their_definition(
    monkeypatch: pytest.MonkeyPatch, length: int, chunk: int
) -> None:
    monkeypatch.setattr(text_notes, "CHUNK", chunk)
    train = random_text(1500, 1)
    text = "".join(
        train[start : start + n] + random_text(n % 7, n) for n in range(60) for start in [n * 20]
    )
    windows = {train[i : i + length] for i in range(len(train) - length + 1)}
    expected = np.zeros(len(text), bool)
    for i in range(len(text) - length + 1):
        if text[i : i + length] in windows:
            expected[i : i + length] = True
    ids = [np.frombuffer(part.encode(), np.uint8) for part in (train, text)]
    assert np.array_equal(verbatim_mask(*ids, length), expected)
    assert 0.2 < expected.mean() < 1
    assert not verbatim_mask(ids[0], ids[1][: length - 1], length).any()


def test_unigram_costs_are_cross_entropy_and_entropy() -> None:
    train, text = np.repeat([0, 1], [3000, 1000]), np.repeat([0, 1], [50, 50])
    by_train, by_itself = unigram_costs(train, text, 2)
    assert by_itself == 1
    assert by_train == pytest.approx(-0.5 * (np.log2(0.75) + np.log2(0.25)), rel=1e-3)


def test_copies_and_other_frequencies_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    fresh = random_text(30_000, 1)
    assert notes_of(path, fresh) == {}
    copied = notes_of(path, fresh[:28_500] + fresh[:1000] + fresh[-500:])
    assert copied == {"verbatim": pytest.approx(2 / 3, abs=0.02)}
    unlike = notes_of(
        path, fresh[:28_500] + random_text(1500, 2).replace("a", "h").replace("b", "h")
    )
    assert list(unlike) == ["unlike_train"]
    # 400 characters of 80 fit their own frequencies by chance.
    assert notes_of(path, "".join(random.Random(4).choices(printable[:80], k=8000))) == {}


def test_copies_are_not_looked_for_in_a_long_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_notes, "MAX_TOKENS", 10_000)
    assert "verbatim_unmeasured" in notes_of(tmp_path / "x.txt", random_text(11_000, 4))


def test_list_of_items_is_told_from_text(tmp_path: Path) -> None:
    names = ["".join(DRAW.choices("abcdefghijk", k=DRAW.randint(3, 12))) for _ in range(3000)]
    sentences = prose(40_000)
    for items in (names, sorted(names), sentences.splitlines()):
        assert are_lines_items("\n".join(items).encode())
    words = [0]  # most words follow from the one before, wherever the line ends
    for _ in range(12_000):
        words.append((words[-1] * 7 + 1 if DRAW.random() < 0.8 else DRAW.randrange(200)) % 200)
    story = [" ".join(f"w{word}" for word in words[i : i + 6]) for i in range(0, 12_000, 6)]
    for no_list in (
        [*names[:300], ""] * 9,
        [" ".join(names[i : i + 30]) for i in range(300)],
        story,
        names[:50],
    ):
        assert not are_lines_items("\n".join(no_list).encode()), no_list[:3]
    assert "independent_lines" in notes_of(tmp_path / "x.txt", "\n".join(names))
    assert "independent_lines" not in notes_of(
        tmp_path / "x.txt", "\n".join(names), split_by="line"
    )


def test_notes_are_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = random_text(9000, 5)
    path = tmp_path / "x.txt"
    first = notes_of(path, text + text[:1000])
    assert "verbatim" in first
    monkeypatch.setattr(text_notes, "_measure", lambda corpus: pytest.fail("measured again"))
    assert notes_of(path, text + text[:1000]) == first
