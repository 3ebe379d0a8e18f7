"""C compiler: builds a library once, keeps it in the cache, and loads it with ctypes."""

import ctypes
import hashlib
import os
import platform
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path

from charlm.kernels.compiled.kernel_cache import (
    HASH_LENGTH,
    KernelCacheError,
    UnavailableKernelError,
    build_directory,
    find_library,
    keep_library,
    open_kernel_cache,
)

# NaN must propagate: enable only the fast-math flags that preserve it.
COMPILER_FLAGS = (
    *("-O3", "-march=native", "-std=gnu11", "-fPIC", "-shared", "-w", "-fopenmp-simd"),
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
)
COMPILER_TIMEOUT = 300  # seconds
VERSION_TIMEOUT = 30  # seconds
LIBRARY_MAGIC = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")  # Linux, macOS
MAX_CAUSE_LENGTH = 300  # characters of the compiler's output that a message repeats


class KernelBuildError(UnavailableKernelError):
    """A kernel that the C compiler cannot build here."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"the C compiler {compiler()[0]} cannot build the kernel: {cause[:MAX_CAUSE_LENGTH]}",
            "another compiler in the environment variable CC",
        )


@cache
def compiler() -> tuple[str, ...]:
    """Return the command of the compiler: $CC, or the first of cc, gcc and clang; () if none."""
    configured = os.environ.get("CC", "").split()
    for command in [configured] if configured else [["cc"], ["gcc"], ["clang"]]:
        if shutil.which(command[0]):
            return tuple(command)
    return ()


def _run(
    arguments: list[str], timeout: float, folder: Path | None = None
) -> "subprocess.CompletedProcess[bytes]":
    """Run the compiler; however this ends, nothing that it has started goes on.

    Args:
        arguments: Its arguments.
        timeout: Seconds after which it is killed.
        folder: Its working directory, in which it also writes temporary files.
    """
    environment = {**os.environ, "TMPDIR": str(folder)} if folder else None
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        process = subprocess.Popen(
            [*compiler(), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        started.append(process)

    # Signals interrupt the main thread only: in another one, no process starts without its number.
    with ThreadPoolExecutor(1) as pool:
        try:
            pool.submit(start).result()
            output, errors = started[0].communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise KernelBuildError(f"no answer for {timeout} s") from error
        except OSError as error:
            raise KernelBuildError(str(error.strerror)) from error
        finally:
            pool.shutdown()
            for process in started:
                if process.returncode is None:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                with process:  # closes its pipes and waits for it
                    pass
    return subprocess.CompletedProcess(arguments, started[0].returncode, output, errors)


@cache
def _identity() -> str | KernelBuildError:
    """Return a hash of the compiler and of the processor, which -march=native depends on."""
    try:
        version = _run(["--version"], VERSION_TIMEOUT).stdout
    except KernelBuildError as error:
        return error
    flags = b""
    with suppress(OSError), open("/proc/cpuinfo", "rb") as file:
        flags = next((line for line in file if line.startswith((b"flags", b"Features"))), b"")
    parts = (repr(compiler()), repr(COMPILER_FLAGS), platform.machine(), platform.processor())
    return hashlib.sha256(version + flags + "".join(parts).encode()).hexdigest()


def load_library(source: str) -> ctypes.CDLL:
    """Return the library of a C source, from the cache or newly built.

    Raises:
        KernelBuildError: The compiler cannot build it.
        KernelCacheError: It cannot be kept, or others could have changed what is kept.
    """
    library = _load_once(source)
    if isinstance(library, UnavailableKernelError):
        raise library.with_traceback(None)
    return library


@cache
def _load_once(source: str) -> ctypes.CDLL | UnavailableKernelError:
    """Return the library of a C source or why there is none: a compiler may fail slowly."""
    try:
        identity = _identity()
        if isinstance(identity, KernelBuildError):
            return identity
        key = hashlib.sha256(f"{identity}\n{source}".encode()).hexdigest()[:HASH_LENGTH]
        with open_kernel_cache() as directory:
            path = find_library(directory, key)
            if path is None:
                path = keep_library(directory, key, _build(source, directory))
            return _load(path)
    except UnavailableKernelError as error:
        return error


def _build(source: str, directory: Path) -> bytes:
    with build_directory(directory) as folder:
        code, library = folder / "kernel.c", folder / "kernel.so"
        code.write_text(source)
        arguments = [*COMPILER_FLAGS, code.name, "-o", library.name, "-lm"]
        result = _run(arguments, COMPILER_TIMEOUT, folder)
        if result.returncode or not library.exists():
            output = (result.stderr or result.stdout).decode(errors="replace").strip().splitlines()
            error_line = next((line for line in output if "error" in line), "")
            cause = error_line or next(iter(output), _describe_exit(result.returncode))
            raise KernelBuildError(cause)
        data = library.read_bytes()
    if not data.startswith(LIBRARY_MAGIC):
        raise KernelBuildError("its output is not a library")
    return data


def _describe_exit(code: int) -> str:
    return f"it was killed by signal {-code}" if code < 0 else f"exit code {code}"


def _load(path: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise KernelCacheError(path.parent, f"cannot load {error}") from error


@cache
def unavailable_reason() -> str:
    """Return why nothing can be compiled here, or ""."""
    if not compiler():
        return "no C compiler was found (cc, gcc, clang or $CC)"
    try:
        load_library("int works(void) { return 1; }\n")
    except UnavailableKernelError as error:
        return error.reason
    return ""
