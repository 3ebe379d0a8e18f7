"""Tests of the cache of compiled kernels under attack, by the functions of fault injection."""

import pytest
from faults.kernel_cache import run

from charlm.kernels.compiled import compiler
from charlm.storage import trust

pytestmark = pytest.mark.skipif(not compiler.compiler(), reason="no C compiler")


@pytest.fixture(autouse=True)
def nothing_loaded() -> None:
    compiler._load_once.cache_clear()


def test_no_planted_or_partial_library_is_loaded() -> None:
    hazard = run(0.01)
    assert hazard.failures == () and hazard.trials >= 15


def test_unchecked_directories_and_files_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "distrust_reason", lambda _: "")
    monkeypatch.setattr(trust, "distrust_status", lambda *_: "")
    failures = run(0.001).failures
    for planted in ("write_by_group of 0", "write_by_all of 1", "link of 1", "write_by_all of 3"):
        assert any(planted in failure and "exit code 66" in failure for failure in failures), (
            planted
        )
