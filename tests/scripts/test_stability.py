"""The script of stability: what counts as agreement, and that texts are drawn again."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from test_docs import load_script

from charlm.results.verdicts import JudgedQuantity, Label, PairVerdict, Verdict


@pytest.fixture(scope="module")
def stability() -> ModuleType:
    return load_script("stability")


def pair(label: Label, quantity: JudgedQuantity = "bits_per_char") -> PairVerdict:
    verdict = Verdict(label=label, difference=0.1, ci_low=0.05, ci_high=0.15)
    return PairVerdict(quantity=quantity, cell="lstm", other="gru", verdict=verdict)


def test_only_better_and_worse_contradict(stability: Any) -> None:
    labels: list[Label] = ["better", "worse", "inconclusive", "better"]
    repeats = [stability.Repeat(1, number, (pair(one),)) for number, one in enumerate(labels)]
    (question,) = stability.questions(repeats)
    found = stability.agreement(repeats, question)
    assert (found.same, found.contradictions, found.pairs) == (1, 2, 6)


def test_document_has_each_repeat_and_what_was_not_measured(stability: Any) -> None:
    repeats = [
        stability.Repeat(1, 0, (pair("better"), pair("better", "word_again"))),
        stability.Repeat(4, 0, (pair("worse"),)),
    ]
    text = stability.format_document(repeats)
    assert "worse in another): 1 of 1 pairs of verdicts." in text
    assert "| 1 x | 1 | better +0.100 [+0.050, +0.150] |" in text
    assert "| 4 x | 1 | not measured |" in text
    assert "| all | agree | 0 of 1 pairs, 1 contradict |" in text
    assert "## How far back" not in text


def test_texts_of_two_repeats_have_other_paths_and_the_same_files(
    stability: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.py").write_text("a")
    monkeypatch.setattr(stability, "TEXT", str(source))
    roots = [stability.redrawn_text(number, tmp_path / "texts") for number in (0, 1)]
    files = [[path for path in root.rglob("*") if path.is_file()] for root in roots]
    relative = [one.relative_to(root) for root, (one,) in zip(roots, files, strict=True)]
    assert relative[0] != relative[1] and {path.name for path in relative} == {"a.py"}
