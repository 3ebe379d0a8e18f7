"""Tests of commands where the cache cannot be used."""

import json
from pathlib import Path

import pytest
from conftest import charlm

from charlm.kernels.compiled import compiler

pytestmark = pytest.mark.skipif(not compiler.compiler(), reason="no C compiler")


def test_commands_go_on_without_the_cache_and_say_so_once(
    book: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "cache"
    shared.mkdir()
    shared.chmod(0o777)
    for cache, words, remedy in (
        (shared, ["train", book, "--max-steps", 3, "--dry-run"], f"chmod go-w {shared}"),
        (shared, ["cells", "--json"], f"chmod go-w {shared}"),
        (Path("/proc/nothing"), ["eval", trained], "variable CHARLM_CACHE"),
    ):
        monkeypatch.setenv("CHARLM_CACHE", str(cache))
        done = charlm(*words)
        messages = done.stderr.decode()
        assert done.returncode == 0, messages
        assert messages.count("not used") == 1 and "are free" not in messages, messages
        assert f"note: the cache {cache} is not used" in messages and remedy in messages
        if words[0] == "cells":
            cells = json.loads(done.stdout)["cells"]
            assert any("compiled" in cell["kernels"] for cell in cells)
    assert not [*shared.iterdir()]
