"""Tests of commands where the cache of compiled kernels cannot be used."""

import json
from pathlib import Path

import pytest
from conftest import charlm

from charlm.kernels.compiled import compiler

pytestmark = pytest.mark.skipif(not compiler.compiler(), reason="no C compiler")


def test_commands_go_on_with_another_kernel_and_name_the_variable(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kernels").touch()  # in place of a directory
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path))
    commands = (["sample", trained, "--length", 5], ["cells", "--json"], ["eval", trained])
    for words in commands:
        done = charlm(*words)
        messages = done.stderr.decode()
        assert done.returncode == 0, messages
        assert messages.count("(set by CHARLM_CACHE) cannot be used: Not a directory") == 1
        assert "the kernel compiled is not used" in messages
        if words[0] == "cells":
            kernels = {
                kernel for cell in json.loads(done.stdout)["cells"] for kernel in cell["kernels"]
            }
            assert "loop" in kernels and "compiled" not in kernels
    refused = charlm("sample", trained, "--length", 5, "--kernel", "compiled")
    assert refused.returncode == 78
    (line,) = refused.stderr.decode().splitlines()
    assert "cannot use --kernel compiled: the cache of kernels" in line and "Try native" in line
