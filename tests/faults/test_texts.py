"""Tests of odd, changing and foreign texts and of their cache: a sample, and planted faults."""

import pytest
from faults import odd_texts, text_cache, texts

from charlm.data import encoded_text
from charlm.data.sources import TextSource


def test_odd_and_changing_texts_are_read_exactly_or_refused() -> None:
    hazard = odd_texts.run(0.005)
    assert hazard.trials > 60 and hazard.failures == ()


def test_text_that_is_not_read_exactly_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = TextSource.chunks
    monkeypatch.setattr(
        TextSource,
        "chunks",
        lambda self: (chunk.replace(b"\r\n", b"\n") for chunk in chunks(self)),
    )
    assert any("round trip" in failure for failure in odd_texts.run(0.005).failures)


def test_damaged_cache_is_never_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    hazard = text_cache.run(0.005)
    assert hazard.trials > 80 and hazard.failures == ()
    monkeypatch.setattr(encoded_text, "is_intact", lambda *_: True)
    assert any("of .ids: taken" in failure for failure in text_cache.run(0.005).failures)


@pytest.mark.slow
def test_run_cannot_name_foreign_files() -> None:
    hazard = texts.run(0.02)
    assert hazard.trials >= 8 and hazard.failures == ()
