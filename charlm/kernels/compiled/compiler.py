"""C as a library: built once by the machine's own compiler, kept in the cache, loaded by ctypes."""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from torch import Tensor

from charlm.errors import ConfigError
from charlm.storage import files

# What is no number must stay none: of the loose arithmetics only those that keep that promise.
COMPILER_FLAGS = (
    *("-O3", "-march=native", "-std=gnu11", "-fPIC", "-shared", "-w", "-fopenmp-simd"),
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
)
COMPILER_TIMEOUT = 300  # seconds that a compiler may take


@cache
def compiler() -> tuple[str, ...]:
    """$CC, or the first of cc, gcc and clang that there is; () if there is none."""
    asked = os.environ.get("CC", "").split()
    for words in [asked] if asked else [["cc"], ["gcc"], ["clang"]]:
        if shutil.which(words[0]):
            return tuple(words)
    return ()


def _run(words: list[str], folder: str | None = None) -> "subprocess.CompletedProcess[bytes]":
    try:
        return subprocess.run(
            [*compiler(), *words],
            capture_output=True,
            check=False,
            cwd=folder,
            timeout=COMPILER_TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _build_error(
            str(getattr(error, "strerror", "") or f"silent for {COMPILER_TIMEOUT} s")
        ) from error


def _build_error(reason: str) -> ConfigError:
    return ConfigError(
        f"the C compiler {compiler()[0]} cannot build the kernel ({reason}): --kernel loop needs "
        "none, and the environment variable CC names another compiler"
    )


@cache
def _identity() -> str:
    """Of the compiler and of the processor that -march=native means."""
    told = _run(["--version"]).stdout
    flags = b""
    with suppress(OSError), open("/proc/cpuinfo", "rb") as file:
        flags = next((line for line in file if line.startswith((b"flags", b"Features"))), b"")
    words = (repr(compiler()), repr(COMPILER_FLAGS), platform.machine(), platform.processor())
    return hashlib.sha256(told + flags + "".join(words).encode()).hexdigest()


@cache
def load_library(source: str) -> ctypes.CDLL:
    """The library of a C source; raises BadConfig when the compiler cannot make it."""
    key = hashlib.sha256(f"{_identity()}\n{source}".encode()).hexdigest()[:32]
    place = _private_directory(files.cache_directory() / "kernels")
    for known in place.glob(f"{key}-*.so"):
        data = known.read_bytes()
        if known.stem.partition("-")[2] == hashlib.sha256(data).hexdigest()[:32]:
            return _loaded(known)
    with tempfile.TemporaryDirectory() as directory:
        code, made = Path(directory) / "kernel.c", Path(directory) / "kernel.so"
        code.write_text(source)
        done = _run([*COMPILER_FLAGS, code.name, "-o", made.name, "-lm"], directory)
        if done.returncode or not made.exists():
            said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            reason = next((line for line in said if "error" in line), said[0] if said else "")
            raise _build_error(reason or f"exit code {done.returncode}")
        data = made.read_bytes()
        if not data.startswith((b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")):
            raise _build_error("what it made is no library")
    kept = place / f"{key}-{hashlib.sha256(data).hexdigest()[:32]}.so"
    files.write_atomic(kept, data)
    return _loaded(kept)


def _loaded(path: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise _build_error(f"what it made cannot be loaded from {path.parent}: {error}") from error


def _private_directory(place: Path) -> Path:
    """The directory, if nobody else can put code into it: what lies there is run."""
    if not place.exists():
        files.make_directory(place)
        place.chmod(0o700)
    status = place.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise _build_error(f"others may write into {place}, and what lies there would be run")
    return place


@cache
def unavailable_reason() -> str:
    """Why nothing can be compiled here, or ""."""
    if not compiler():
        return "no C compiler is there (cc, gcc, clang or $CC)"
    try:
        load_library("int works(void) { return 1; }\n")
    except ConfigError as error:
        return str(error).partition(": --kernel")[0]
    return ""


def data_pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    """Where its numbers begin, for C; NULL of none."""
    return ctypes.c_void_p(0 if tensor is None else tensor.data_ptr())
