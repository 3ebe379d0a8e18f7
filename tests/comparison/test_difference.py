"""Difference of two runs: parts that add up, bytes against characters, passages, the interval."""

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from conftest import charlm, prose

from charlm.comparison import difference as differences
from charlm.comparison.difference import diff
from charlm.comparison.passages import (
    DISTANCE_GROUPS,
    distances_to_last_occurrence,
    largest_passages,
)
from charlm.comparison.text_bootstrap import text_interval
from charlm.errors import DataError, InvalidValueError
from charlm.evaluation.evaluate import evaluate
from charlm.reporting.html.difference import render_difference
from charlm.reporting.terminal.difference import print_difference
from charlm.reporting.wording.difference import describe_difference
from charlm.results.difference import CharacterDifference

TEXT = "The <b>cat</b> sees \x1b[1m a håuse.\n" + prose(400, seed=7)


@pytest.fixture(scope="module")
def of_bytes(tmp_path_factory: pytest.TempPathFactory, book: Path) -> Path:
    """Train a small GRU of bytes on the same text."""
    path = tmp_path_factory.mktemp("runs") / "gru"
    options = ["--hidden-size", 12, "--embedding-dim", 8, "--batch-size", 8, "--seq-len", 16]
    options += ["--max-steps", 20, "--lr", 0.02, "--vocab", "bytes", "--cell", "gru"]
    done = charlm("train", book, *options, "--run", path)
    assert done.returncode == 0, done.stderr.decode()
    return path


def test_parts_add_up_across_vocabularies(
    trained: Path, of_bytes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.txt").write_text(TEXT)
    beginning: list[CharacterDifference] = []
    report = diff(trained, of_bytes, tmp_path / "t.txt", passages=2, per_char=beginning.extend)
    scores = [evaluate(run, text=tmp_path / "t.txt") for run in (trained, of_bytes)]
    assert report.characters == len(TEXT) and report.split is None
    for side, score in zip((report.a, report.b), scores, strict=True):
        assert side.bits_per_char == pytest.approx(score.bits_per_char, rel=1e-12)
    assert report.difference == pytest.approx(report.a.bits_per_char - report.b.bits_per_char)
    assert math.fsum(g.contribution for g in report.by_class) == pytest.approx(report.difference)
    assert sum(group.characters for group in report.by_class) == len(TEXT)
    parts = np.array([part.difference for part in report.parts])
    starts = [*(part.start for part in report.parts), len(TEXT)]
    assert parts @ np.diff(starts) == pytest.approx(report.difference * len(TEXT))
    assert report.a.unknown_characters == scores[0].unknown_tokens > 0
    assert report.b.unknown_characters == 0 < report.unknown_contribution
    assert "".join(item.character for item in beginning) == TEXT
    total = math.fsum(item.bits_a - item.bits_b for item in beginning)
    assert total / len(TEXT) == pytest.approx(report.difference)
    assert report.low is None and "no interval" in describe_difference(report)
    back = diff(of_bytes, trained, tmp_path / "t.txt", passages=2)
    assert back.difference == pytest.approx(-report.difference)
    assert [p.position for p in back.b_loses] == [p.position for p in report.a_loses]
    html = render_difference(report, beginning).decode()
    assert "<b>cat" not in html and "\x1b" not in html and "<script" not in html
    assert html.count('<s class="') >= len(TEXT) and "reads bytes" in html
    print_difference(report)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "lstm loses most" in shown and "⟦" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_no_more_is_built_than_a_page_shows(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for passages in (-1, 101, 10**9):
        with pytest.raises(InvalidValueError, match="passages: from 0 to 100 can be. Try 5"):
            diff(trained, trained, passages=passages)
    monkeypatch.setattr(differences, "SINK_LENGTH", 16)
    pieces: list[tuple[CharacterDifference, ...]] = []
    diff(trained, trained, per_char=pieces.append, max_per_char=40)
    assert list(map(len, pieces)) == [16, 16, 8]


def test_run_does_not_differ_from_itself(trained: Path, of_bytes: Path) -> None:
    report = diff(trained, trained)
    assert report.split == "test" and report.difference == 0 == report.a_better
    assert report.a_loses == report.b_loses == ()
    assert diff(trained, of_bytes).characters == report.characters  # the same test split


def test_other_test_splits_and_texts_that_one_cannot_read_are_refused(
    trained: Path, of_bytes: Path, tmp_path: Path
) -> None:
    (tmp_path / "other.txt").write_text(prose(3000, seed=8))
    options = ["--hidden-size", 8, "--embedding-dim", 4, "--batch-size", 4, "--seq-len", 16]
    done = charlm(
        *("train", tmp_path / "other.txt", *options, "--max-steps", 2, "--run", tmp_path / "r")
    )
    assert done.returncode == 0
    with pytest.raises(DataError, match="their test splits are different texts. Try a TEXT"):
        diff(trained, tmp_path / "r")
    (tmp_path / "raw.bin").write_bytes(b"The cat \xff sees.")
    with pytest.raises(DataError, match="UTF-8"):
        diff(trained, of_bytes, tmp_path / "raw.bin")
    raw = diff(of_bytes, of_bytes, tmp_path / "raw.bin")
    assert raw.characters == 15


def test_passages_are_the_largest_and_do_not_overlap() -> None:
    text = "".join(chr(97 + index % 26) for index in range(1000))
    bits = np.ones(1000)
    bits[300:330] += 2.0
    bits[700:710] += 3.0
    first, second = largest_passages(text, bits, np.ones(1000), 2, 1)
    assert first.difference == 60 and first.position <= 300 <= 330 <= first.position + 60
    assert second.difference == 30 and second.position <= 700 <= 710 <= second.position + 60
    assert (
        first.before + "".join(c.character for c in first.characters) + first.after
        == (text[first.position - 60 : first.position + 120])
    )
    assert largest_passages(text, bits, np.ones(1000), 2, -1) == ()
    (whole,) = largest_passages("ab", np.array([2.0, 1.0]), np.zeros(2), 3, 1)
    assert whole.characters == (
        CharacterDifference(character="a", bits_a=2.0, bits_b=0.0),
        CharacterDifference(character="b", bits_a=1.0, bits_b=0.0),
    )


def test_distance_is_that_to_the_word_before() -> None:
    text = (
        "house cat house" + " " * 100 + "house" + " " * 300 + "house" + " " * 2000 + "house, Ant4"
    )
    groups = distances_to_last_occurrence(text)
    starts = [index for index in range(len(text)) if text.startswith("house", index)]
    names = [DISTANCE_GROUPS[groups[start + 1]] for start in starts]
    assert names == [DISTANCE_GROUPS[4], *DISTANCE_GROUPS[:4]]
    assert all(groups[start] == -1 for start in starts)  # the first letter says which word it is
    assert (groups[text.index("cat") : text.index("cat") + 3] == -1).all()
    assert (groups[text.index("Ant4") :] == -1).all()


def test_interval_covers_the_mean_of_units() -> None:
    """Independent normal units of unequal length: about 95 of 100 intervals cover the truth."""
    generator = np.random.default_rng(1)
    covered = 0
    for trial in range(100):
        counts = generator.integers(500, 1500, 30).astype(float)
        sums = 0.05 * counts + generator.normal(0, 40, 30)
        interval = text_interval(sums, counts, are_ordered=False, seed=trial)
        assert interval is not None
        covered += interval[0] <= 0.05 <= interval[1]
    assert 89 <= covered <= 99
    assert text_interval(np.ones(19), np.ones(19), are_ordered=True) is None


def test_unclear_and_clear_differences_are_told_apart(trained: Path) -> None:
    report = msgspec.structs.replace(diff(trained, trained), units=30, low=-0.01, high=0.02)
    assert "unclear" in describe_difference(report)
    report = msgspec.structs.replace(report, difference=-0.05, low=-0.06, high=-0.04)
    text = describe_difference(report)
    assert "needs 0.050 bits per character more" in text and "0.040 to 0.060" in text
