"""Tests of the C compiler: what is built and cached, and what is reported when it fails."""

import re
import tempfile
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
from charlm.storage import private_cache
from charlm.storage.private_cache import open_private_cache

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
        private_cache._say_once,
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
@pytest.mark.parametrize("is_missing", [False, True])
def test_kernels_are_built_privately_where_the_cache_is_not_used(
    empty_cache: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    is_missing: bool,
) -> None:
    cache, cell = tmp_path / "cache", LSTM(3, 4)
    if is_missing:
        cache.touch()
        cause = "Not a directory. Try another directory in the environment variable CHARLM_CACHE"
    else:
        compiler.load_library("int seven(void) { return 7; }\n")
        assert (cache / "kernels").stat().st_mode & 0o777 == 0o700
        cache.chmod(0o777)
        cause = f"others may write into {cache}. Try chmod go-w {cache}"
    known = {*cache.rglob("*")}
    (tmp_path / "private").mkdir(mode=0o700)
    empty_cache.setattr(tempfile, "tempdir", str(tmp_path / "private"))
    compiler._load_once.cache_clear()
    assert compiler.load_library("int seven(void) { return 7; }\n").seven() == 7
    assert supported_kernels(cell, "cpu")[0] == "compiled"
    get_kernel("compiled", cell, "cpu")
    with open_private_cache() as texts:
        assert texts.parent == tmp_path / "private"
    (warning,) = caplog.messages  # once, for texts and kernels
    assert warning.startswith(f"note: the cache {cache} is not used") and warning.endswith(cause)
    assert {*cache.rglob("*")} == known and not [*(tmp_path / "private").iterdir()]


@needs_compiler
def test_no_kernel_is_built_where_others_may_write_everywhere(
    empty_cache: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cell, directory = LSTM(3, 4), tmp_path / "shared"
    directory.mkdir()
    directory.chmod(0o777)
    empty_cache.setenv("CHARLM_CACHE", str(directory))
    empty_cache.setattr(tempfile, "tempdir", str(directory))
    assert supported_kernels(cell, "cpu")[0] == "native"
    assert supported_kernels(cell, "cpu", build=False)[0] == "native"
    reason = f"kernels cannot be kept in {directory}: others may write into {directory}"
    assert len(caplog.messages) == 2  # of the cache, and of kernels
    assert re.match(f"note: kernel compiled is not used: {reason}", caplog.messages[1])
    with pytest.raises(ConfigError, match=f"cannot use --kernel compiled: {reason}. Try native"):
        get_kernel("compiled", cell, "cpu")
    assert single_step_kernel("compiled", cell).name == "loop"
    assert "others may write" in single_step_kernel("compiled", cell).reason


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
    assert warning.startswith(
        f"note: the compiled kernel {library} is not used: it is damaged. It is"
    )
