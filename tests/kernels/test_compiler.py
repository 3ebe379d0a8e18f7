"""Tests of the C compiler: what is built and cached, and what is reported when it fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from charlm.cells.lstm import LSTM
from charlm.errors import ConfigError
from charlm.kernels.compiled import compiler, runtime
from charlm.kernels.registry import get_kernel, supported_kernels, unsupported_reason

needs_compiler = pytest.mark.skipif(
    bool(compiler.unavailable_reason()), reason=compiler.unavailable_reason() or "-"
)


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine on which nothing was built yet."""
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    cached = (
        compiler.compiler,
        compiler._identity,
        compiler.load_library,
        compiler.unavailable_reason,
        runtime.load_functions,
    )
    for function in cached:
        function.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    for function in cached:
        function.cache_clear()


def test_without_compiler_another_kernel_is_chosen(
    empty_cache: pytest.MonkeyPatch,
) -> None:
    empty_cache.setenv("CC", "no-such-compiler")
    cell = LSTM(3, 4)
    with pytest.raises(ConfigError, match="--kernel compiled: no C compiler was found.*Try native"):
        get_kernel("compiled", cell, "cpu")
    assert supported_kernels(cell, "cpu")[0] == "native"


def test_failing_compiler_is_reported_on_one_line(
    empty_cache: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "broken-cc"
    broken.write_text("#!/bin/sh\necho 'kernel.c:1: error: the moon is full' >&2\nexit 1\n")
    broken.chmod(0o755)
    empty_cache.setenv("CC", str(broken))
    with pytest.raises(ConfigError, match="cannot build the kernel: .*the moon is full") as raised:
        get_kernel("compiled", LSTM(3, 4), "cpu")
    assert "\n" not in str(raised.value)


def test_unusable_compiler_output_is_an_error_and_not_cached(
    empty_cache: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    odd = tmp_path / "odd-cc"
    empty_cache.setenv("CC", str(odd))
    empty_cache.setattr(compiler, "COMPILER_TIMEOUT", 1)
    for script, reason in (
        ('while [ "$1" != -o ]; do shift; done; echo junk > "$2"', "its output is not a library"),
        ("exec sleep 5", "no answer for 1 s"),
        (None, "Exec format error"),
    ):
        odd.write_text(f'#!/bin/sh\n[ "$1" = --version ] || {{ {script}; }}\n' if script else "\0")
        odd.chmod(0o755)
        compiler._identity.cache_clear()
        with pytest.raises(ConfigError, match=f"cannot build the kernel: .*{reason}"):
            compiler.load_library("int seven(void) { return 7; }\n")
    assert not list((tmp_path / "cache").rglob("*.so"))


@needs_compiler
def test_library_in_a_directory_writable_by_others_is_refused(
    empty_cache: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    directory = tmp_path / "cache" / "kernels"
    compiler.load_library("int seven(void) { return 7; }\n")
    assert directory.stat().st_mode & 0o777 == 0o700
    directory.chmod(0o777)
    assert "others may write into" in unsupported_reason("compiled", LSTM(3, 4), "cpu")


@pytest.mark.slow  # it starts three processes that import PyTorch
@needs_compiler
def test_library_is_built_once_and_again_if_damaged(tmp_path: Path) -> None:
    count, cache = tmp_path / "count", tmp_path / "cache"
    counting_compiler = tmp_path / "counting-cc"
    counting_compiler.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] || echo x >> {count}\nexec cc "$@"\n'
    )
    counting_compiler.chmod(0o755)
    code = """from charlm.kernels.compiled.compiler import load_library
assert load_library("int seven(void) { return 7; }").seven() == 7"""

    def count_builds_in_a_new_process() -> int:
        env = {**os.environ, "CC": str(counting_compiler), "CHARLM_CACHE": str(cache)}
        subprocess.run([sys.executable, "-c", code], env=env, check=True)
        return count.read_text().count("x")

    assert count_builds_in_a_new_process() == 1
    assert count_builds_in_a_new_process() == 1
    (library,) = (cache / "kernels").glob("*.so")
    library.write_bytes(library.read_bytes()[:-100])
    assert count_builds_in_a_new_process() == 2
