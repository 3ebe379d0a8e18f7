"""Cache of compiled kernels: builders at once, killed ones, planted libraries, slow compilers.

Each trial is a fork of this process, which has loaded nothing itself.
"""

import contextlib
import ctypes
import hashlib
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from charlm.kernels.compiled import compiler, kernel_cache
from faults.hazard import Hazard

BUILDERS = 8
SOURCE = "int seven(void) { return 7; }\n"
PLANTED = "#include <unistd.h>\n__attribute__((constructor)) void run(void) { _exit(66); }\n"
LOADED, REFUSED, WRONG = 0, 1, 2  # exit codes of a fork; 66: foreign code ran
NOBODY = 65534


def fork(work: Callable[[], int]) -> int:
    """Start a process that ends with what `work` returns, and return its number."""
    process = os.fork()
    if process == 0:
        code = WRONG
        with contextlib.suppress(BaseException):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            code = work()
        os._exit(code)
    return process


def wait(process: int) -> int:
    """Return the exit code of a process, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def load(cache: Path, command: str = "cc") -> Callable[[], int]:
    """Return a function that loads the library of SOURCE, and how that ended."""

    def work() -> int:
        os.environ |= {"CHARLM_CACHE": str(cache), "CC": command}
        for found_before in (compiler.compiler, compiler._identity, compiler._load_once):
            found_before.cache_clear()
        try:
            return LOADED if compiler.load_library(SOURCE).seven() == 7 else WRONG
        except kernel_cache.UnavailableKernelError:
            return REFUSED

    return work


def unsound_files(cache: Path) -> list[str]:
    """Return the libraries in a cache whose names are not those of their content."""
    return [
        path.name
        for path in cache.glob("kernels/*.so")
        if path.stem.partition("-")[2] != hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    ]


def check_builders(folder: Path) -> Iterator[str]:
    """Let processes build one kernel at once."""
    codes = [wait(process) for process in [fork(load(folder)) for _ in range(BUILDERS)]]
    names = sorted(path.name for path in (folder / "kernels").iterdir())
    if any(codes) or len(names) != 1 or unsound_files(folder):
        yield f"builders at once: exit codes {codes}, files {names}"


def check_killed_builder(folder: Path, seconds: float) -> Iterator[str]:
    """Kill a builder, or its compiler, after a time; the next process must build a whole one."""
    process = fork(load(folder, _slow_compiler(folder)))
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    wait(process)
    unsound, code = unsound_files(folder), wait(fork(load(folder)))
    if unsound or code != LOADED:
        yield f"builder killed after {seconds:.3f} s: {unsound}, exit code {code}"


def check_killed_compiler(folder: Path, seconds: float) -> Iterator[str]:
    """Kill the compiler after a time: it fails, and nothing of it is taken for a kernel."""
    script = folder / "killed-cc"
    script.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exec cc "$@"\n'
        f'cc "$@" & sleep {seconds:.3f}; kill -9 $! 2>/dev/null; wait $!\n'
    )
    script.chmod(0o700)
    code = wait(fork(load(folder, str(script))))
    unsound, again = unsound_files(folder), wait(fork(load(folder)))
    if code not in (LOADED, REFUSED) or unsound or again != LOADED:
        yield f"compiler killed after {seconds:.3f} s: exit codes {code}, {again}, {unsound}"


def _slow_compiler(folder: Path) -> str:
    """Return a compiler that writes half of its output, waits, and writes the rest."""
    script = folder / "slow-cc"
    script.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exec cc "$@"\n'
        'cc "$@"; mv kernel.so all; head -c 5000 all > kernel.so; sleep 0.05; mv all kernel.so\n'
    )
    script.chmod(0o700)
    return str(script)


def _name(path: Path) -> Path:
    return path.with_name(f"{path.stem.partition('-')[0]}-{_digest(path)}.so")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def plant(folder: Path, library: bytes) -> Path:
    """Put a foreign library in the place of the built one, under the right hash; return it."""
    (built,) = (folder / "kernels").glob("*.so")
    built.write_bytes(library)
    return built.rename(_name(built))


def link(path: Path) -> None:
    """Replace a file or directory by a link to it."""
    path.symlink_to(path.rename(path.with_name("elsewhere")))


def fifo(path: Path) -> None:
    """Replace a file by a FIFO."""
    path.unlink()
    os.mkfifo(path)


def rename(path: Path) -> None:
    """Give a library another hash in its name."""
    path.rename(path.with_name(f"{path.stem[:33]}{'0' * 32}.so"))


def write_by_group(path: Path) -> None:
    """Let a group of others write a file or directory; only root can."""
    path.chmod(0o770)
    os.chown(path, -1, NOBODY)


def write_by_all(path: Path) -> None:
    """Let everybody write a file or directory."""
    path.chmod(0o777)


def give_away(path: Path) -> None:
    """Give a file or directory to another user; only root can."""
    os.chown(path, NOBODY, NOBODY)


Change = Callable[[Path], None]
# Change, and how far above the library: itself, its directory, the cache, the directory above it.
PLANTS: tuple[tuple[Change, int], ...] = (
    *((change, 0) for change in (write_by_group, rename, link, fifo, give_away)),
    *((change, 1) for change in (write_by_all, link, give_away)),
    *((change, 2) for change in (write_by_group, link, give_away)),
    *((change, 3) for change in (write_by_all, give_away)),
)


def check_planted(folder: Path, library: bytes, change: Change, above: int) -> Iterator[str]:
    """Plant a library that ends the process which loads it."""
    wait(fork(load(folder)))
    path = plant(folder, library)
    change([path, *path.parents][above])
    code = wait(fork(load(folder)))
    if code != LOADED:  # it is built anew: in its place, or where the cache is not used, privately
        yield f"planted library, {change.__name__} of {above} above it: exit code {code}"


def check_hanging_compiler(folder: Path) -> Iterator[str]:
    """Interrupt a process whose compiler hangs; nothing that it has started goes on."""
    script, started = folder / "hanging-cc", folder / "started"
    script.write_text(f"#!/bin/sh\nsleep 1000 &\necho $! > {started}; wait\n")
    script.chmod(0o700)

    def work() -> int:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return load(folder, str(script))()
        except KeyboardInterrupt:
            return 130

    process = fork(work)
    while not (started.exists() and started.read_text().strip()):
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            yield f"hanging compiler: exit code {os.waitstatus_to_exitcode(status)} at once"
            return
        time.sleep(0.01)
    os.kill(process, signal.SIGINT)
    code, sleeper = wait(process), int(started.read_text())
    if code != 130 or not _is_gone(sleeper):
        yield f"hanging compiler: exit code {code}, its child is gone: {_is_gone(sleeper)}"


def _is_gone(process: int) -> bool:
    """Return whether a process is gone or about to be: it was killed, nobody has waited for it."""
    status = Path(f"/proc/{process}/stat")
    for _ in range(500):
        try:
            if status.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def compile_planted(folder: Path) -> bytes:
    """Return a library whose constructor ends the process."""
    code, library = folder / "planted.c", folder / "planted.so"
    code.write_text(PLANTED)
    subprocess.run(["cc", "-w", "-shared", "-fPIC", code, "-o", library], check=True)
    with contextlib.suppress(OSError):  # it must do what it is planted for
        if wait(fork(lambda: bool(ctypes.CDLL(str(library))))) != 66:
            raise RuntimeError("the planted library does not run")
    return library.read_bytes()


def run(scale: float) -> Hazard:
    """Run a share of the trials."""
    start = time.process_time() + sum(os.times()[2:4])
    rng = random.Random(0)
    plants = [
        plant for plant in PLANTS if plant[0] not in (give_away, write_by_group) or os.getuid() == 0
    ]
    checks: list[Callable[[Path], Iterator[str]]] = [check_hanging_compiler]
    checks += [check_builders] * max(1, round(20 * scale))
    for _ in range(max(2, round(200 * scale))):
        seconds = rng.uniform(0, 0.25)
        checks.append(partial(check_killed_builder, seconds=seconds))
        checks.append(partial(check_killed_compiler, seconds=seconds))
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        library = compile_planted(Path(directory))
        checks += [
            partial(check_planted, library=library, change=change, above=above)
            for change, above in plants
        ]
        for number, check in enumerate(checks):
            folder = Path(directory, str(number), "cache")
            folder.mkdir(mode=0o700, parents=True)
            failures += check(folder)
    return Hazard(
        "a library that nobody built is loaded",
        f"{BUILDERS} builders at once; builder or compiler killed at random; libraries planted in "
        f"{len(plants)} ways; a compiler that hangs",
        len(checks),
        tuple(failures),
        time.process_time() + sum(os.times()[2:4]) - start,
    )
