"""Tests of the C compiler: what is built and cached, and what is reported when it fails."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from charlm.cells.lstm import LSTM
from charlm.errors import ConfigError
from charlm.kernels import registry
from charlm.kernels.compiled import compiler, linear, runtime, single_token
from charlm.kernels.registry import get_kernel, supported_kernels
from charlm.kernels.single_step import single_step_kernel
from charlm.models.catalog import list_cells

needs_compiler = pytest.mark.skipif(
    bool(compiler.unavailable_reason()), reason=compiler.unavailable_reason() or "-"
)


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """A machine on which nothing was built yet."""
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    cached = (
        compiler.compiler,
        compiler._identity,
        compiler._load_once,
        compiler.unavailable_reason,
        runtime.load_functions,
        linear.load_linear_library,
        single_token._load_advance,
        registry._warn_once,
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
        compiler._load_once.cache_clear()
        with pytest.raises(ConfigError, match=f"cannot build the kernel: .*{reason}"):
            compiler.load_library("int seven(void) { return 7; }\n")
    assert not list((tmp_path / "cache" / "kernels").iterdir())


def test_failure_is_remembered_and_its_first_error_shown(
    empty_cache: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    count, failing = tmp_path / "count", tmp_path / "failing-cc"
    failing.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exit\necho x >> {count}\n'
        "printf 'a note\\nkernel.c: error: the moon is full\\n' >&2; kill -9 $$\n"
    )
    failing.chmod(0o755)
    empty_cache.setenv("CC", str(failing))
    for _ in range(2):
        with pytest.raises(ConfigError, match="kernel: kernel.c: error: the moon is full. Try"):
            compiler.load_library("int seven(void) { return 7; }\n")
    assert count.read_text() == "x\n"
    failing.write_text('#!/bin/sh\n[ "$1" = --version ] || kill -9 $$\n')
    with pytest.raises(ConfigError, match="cannot build the kernel: it was killed by signal 9"):
        compiler.load_library("int eight(void) { return 8; }\n")


@needs_compiler
def test_refused_cache_is_named_and_another_kernel_is_used(
    empty_cache: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory, cell = tmp_path / "cache" / "kernels", LSTM(3, 4)
    compiler.load_library("int seven(void) { return 7; }\n")
    assert directory.stat().st_mode & 0o777 == 0o700
    directory.chmod(0o777)
    compiler._load_once.cache_clear()
    assert supported_kernels(cell, "cpu")[0] == "native"
    assert supported_kernels(cell, "cpu", build=False)[0] == "native"
    (warning,) = caplog.messages  # once
    reason = rf"kernels {directory} \(set by CHARLM_CACHE\) .*: others may write into {directory}"
    assert re.search(f"the kernel compiled is not used: the cache of {reason}", warning)
    caplog.clear()
    with pytest.raises(ConfigError, match=f"cannot use --kernel compiled: .*{reason}. Try native"):
        get_kernel("compiled", cell, "cpu")
    assert single_step_kernel("compiled", cell).name == "loop"
    assert "others may write" in single_step_kernel("compiled", cell).reason
    assert not caplog.messages


@needs_compiler
def test_cache_that_cannot_be_written_is_a_reason(
    empty_cache: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    empty_cache.setenv("CHARLM_CACHE", str(tmp_path / "file" / "cache"))
    assert "(set by CHARLM_CACHE) cannot be used: Not a directory" in compiler.unavailable_reason()
    assert "loop" in supported_kernels(LSTM(3, 4), "cpu")


@needs_compiler
def test_listing_cells_builds_no_kernel(empty_cache: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (cell,) = list_cells(16, cells=["lstm"]).cells
    assert cell.kernels[0] == "compiled"
    assert len(list((tmp_path / "cache" / "kernels").glob("*.so"))) == 1  # of `unavailable_reason`


@needs_compiler
def test_library_is_built_once_and_again_if_damaged(
    empty_cache: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    count, counting = tmp_path / "count", tmp_path / "counting-cc"
    counting.write_text(f'#!/bin/sh\n[ "$1" = --version ] || echo x >> {count}\nexec cc "$@"\n')
    counting.chmod(0o755)
    empty_cache.setenv("CC", str(counting))

    def count_builds() -> int:
        compiler._load_once.cache_clear()
        compiler.load_library("int seven(void) { return 7; }\n")
        return count.read_text().count("x")

    assert count_builds() == 1
    assert count_builds() == 1
    (library,) = (tmp_path / "cache" / "kernels").iterdir()
    assert library.stat().st_mode & 0o777 == 0o600
    shortened = tmp_path / "shortened"  # the library itself is loaded and stays
    shortened.write_bytes(library.read_bytes()[:-100])
    shortened.rename(library)
    assert count_builds() == 2
    (warning,) = caplog.messages
    assert warning.startswith(f"the compiled kernel {library} is not used: it is damaged. It is")
