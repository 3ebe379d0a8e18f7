"""C as a library: built once by the machine's own compiler, kept in the cache, loaded by ctypes."""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from charlm import durable
from charlm.errors import BadConfig

# What is no number must stay none: of the loose arithmetics only those that keep that promise.
FLAGS = (
    *("-O3", "-march=native", "-std=gnu11", "-fPIC", "-shared", "-w", "-fopenmp-simd"),
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
)


@cache
def compiler() -> tuple[str, ...]:
    """$CC, or the first of cc, gcc and clang that there is; () if there is none."""
    asked = shlex.split(os.environ.get("CC", ""))
    for words in [asked] if asked else [["cc"], ["gcc"], ["clang"]]:
        if shutil.which(words[0]):
            return tuple(words)
    return ()


@cache
def _identity() -> str:
    """Of the compiler and of the processor that -march=native means."""
    told = subprocess.run([*compiler(), "--version"], capture_output=True, check=False).stdout
    flags = b""
    with open(os.devnull if not Path("/proc/cpuinfo").exists() else "/proc/cpuinfo", "rb") as file:
        flags = next((line for line in file if line.startswith((b"flags", b"Features"))), b"")
    words = (repr(compiler()), repr(FLAGS), platform.machine(), platform.processor())
    return hashlib.sha256(told + flags + "".join(words).encode()).hexdigest()


@cache
def library(source: str) -> ctypes.CDLL:
    """The library of a C source; raises BadConfig when the compiler cannot make it."""
    key = hashlib.sha256(f"{_identity()}\n{source}".encode()).hexdigest()[:32]
    place = durable.cache_directory() / "kernels"
    for known in place.glob(f"{key}-*.so"):
        data = known.read_bytes()
        if known.stem.partition("-")[2] == hashlib.sha256(data).hexdigest()[:32]:
            return ctypes.CDLL(str(known))
    with tempfile.TemporaryDirectory() as directory:
        code, made = Path(directory) / "kernel.c", Path(directory) / "kernel.so"
        code.write_text(source)
        words = [*compiler(), *FLAGS, code.name, "-o", made.name, "-lm"]
        done = subprocess.run(words, capture_output=True, check=False, cwd=directory)
        if done.returncode or not made.exists():
            said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            reason = next((line for line in said if "error" in line), said[0] if said else "")
            raise BadConfig(
                f"the C compiler {compiler()[0]} cannot build the kernel "
                f"({reason or f'exit code {done.returncode}'}): --kernel loop needs none, and the "
                "environment variable CC names another compiler"
            )
        data = made.read_bytes()
    durable.make_directory(place)
    kept = place / f"{key}-{hashlib.sha256(data).hexdigest()[:32]}.so"
    durable.write_file(kept, data)
    return ctypes.CDLL(str(kept))


@cache
def refusal() -> str:
    """Why nothing can be compiled here, or ""."""
    if not compiler():
        return "no C compiler is there (cc, gcc, clang or $CC)"
    try:
        library("int works(void) { return 1; }\n")
    except BadConfig as error:
        return str(error).partition(": --kernel")[0]
    return ""
