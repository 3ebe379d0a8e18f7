"""C compiler: builds a library once, caches it, and loads it with ctypes."""

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
from charlm.storage.lock import in_use

# NaN must propagate: enable only the fast-math flags that preserve it.
COMPILER_FLAGS = (
    *("-O3", "-march=native", "-std=gnu11", "-fPIC", "-shared", "-w", "-fopenmp-simd"),
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
)
COMPILER_TIMEOUT = 300  # seconds
LIBRARY_MAGIC = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")  # Linux, macOS


class KernelBuildError(ConfigError):
    """A kernel that the C compiler cannot build here; `reason` is the cause without a hint."""

    def __init__(self, cause: str) -> None:
        self.reason = f"the C compiler {compiler()[0]} cannot build the kernel: {cause}"
        super().__init__(
            f"{self.reason}. Try --kernel loop, or another compiler in the environment variable CC"
        )


@cache
def compiler() -> tuple[str, ...]:
    """Return the command of the compiler: $CC, or the first of cc, gcc and clang; () if none."""
    configured = os.environ.get("CC", "").split()
    for command in [configured] if configured else [["cc"], ["gcc"], ["clang"]]:
        if shutil.which(command[0]):
            return tuple(command)
    return ()


def _run(arguments: list[str], folder: str | None = None) -> "subprocess.CompletedProcess[bytes]":
    try:
        return subprocess.run(
            [*compiler(), *arguments],
            capture_output=True,
            check=False,
            cwd=folder,
            timeout=COMPILER_TIMEOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise KernelBuildError(f"no answer for {COMPILER_TIMEOUT} s") from error
    except OSError as error:
        raise KernelBuildError(str(error.strerror)) from error


@cache
def _identity() -> str:
    """Return a hash of the compiler and of the processor, which -march=native depends on."""
    version = _run(["--version"]).stdout
    flags = b""
    with suppress(OSError), open("/proc/cpuinfo", "rb") as file:
        flags = next((line for line in file if line.startswith((b"flags", b"Features"))), b"")
    parts = (repr(compiler()), repr(COMPILER_FLAGS), platform.machine(), platform.processor())
    return hashlib.sha256(version + flags + "".join(parts).encode()).hexdigest()


@cache
def load_library(source: str) -> ctypes.CDLL:
    """Return the library of a C source, from the cache or newly built.

    Raises:
        KernelBuildError: The compiler cannot build it.
    """
    key = hashlib.sha256(f"{_identity()}\n{source}".encode()).hexdigest()[:32]
    directory = _private_directory(files.cache_directory() / "kernels")
    with in_use(directory):
        for cached in directory.glob(f"{key}-*.so"):
            data = cached.read_bytes()
            if cached.stem.partition("-")[2] == hashlib.sha256(data).hexdigest()[:32]:
                return _load(cached)
        data = _build(source)
        path = directory / f"{key}-{hashlib.sha256(data).hexdigest()[:32]}.so"
        files.write_atomic(path, data)
        return _load(path)


def _build(source: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        code, library = Path(folder) / "kernel.c", Path(folder) / "kernel.so"
        code.write_text(source)
        result = _run([*COMPILER_FLAGS, code.name, "-o", library.name, "-lm"], folder)
        if result.returncode or not library.exists():
            output = (result.stderr or result.stdout).decode(errors="replace").strip().splitlines()
            error_line = next((line for line in output if "error" in line), "")
            cause = error_line or next(iter(output), f"exit code {result.returncode}")
            raise KernelBuildError(cause)
        data = library.read_bytes()
    if not data.startswith(LIBRARY_MAGIC):
        raise KernelBuildError("its output is not a library")
    return data


def _load(path: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise KernelBuildError(f"cannot load it from {path.parent}: {error}") from error


def _private_directory(path: Path) -> Path:
    """Return the directory if nobody else can write into it: the libraries in it are executed."""
    if not path.exists():
        files.make_directory(path)
        path.chmod(0o700)
    status = path.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise KernelBuildError(f"others may write into {path}, whose files would be executed")
    return path


@cache
def unavailable_reason() -> str:
    """Return why nothing can be compiled here, or ""."""
    if not compiler():
        return "no C compiler was found (cc, gcc, clang or $CC)"
    try:
        load_library("int works(void) { return 1; }\n")
    except KernelBuildError as error:
        return error.reason
    return ""


def data_pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    """Return the address of a tensor's data for C; NULL for None."""
    return ctypes.c_void_p(0 if tensor is None else tensor.data_ptr())
