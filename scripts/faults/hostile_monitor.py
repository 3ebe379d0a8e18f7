"""Monitor of a process that reads hostile files: code, files, memory and time."""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MEMORY = 50 * 2**20  # bytes above those that sound files need
CPU_SECONDS = 5
HANG_SECONDS = 300  # of the wall clock, however busy the machine is

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
PATHS: dict[str, tuple[int, ...]] = {  # event -> its arguments that are changed
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.mkdir": (0,),
    "os.link": (0, 1),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.utime": (0,),
    "os.setxattr": (0,),
    "shutil.rmtree": (0,),
    "shutil.move": (0, 1),
    "shutil.copyfile": (1,),
    "shutil.copytree": (1,),
}
DIRECTORY_ARGUMENT = {"os.remove": 1, "os.rename": 2, "os.rmdir": 1, "os.mkdir": 2}
FORBIDDEN = (
    *("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.spawn", "pty.spawn"),
    *("socket.__new__", "socket.connect", "socket.bind", "socket.getaddrinfo", "urllib.Request"),
    *("webbrowser.open", "pickle.find_class", "ctypes.cdata"),
    *("smtplib.connect", "ftplib.connect", "http.client.connect", "os.kill", "signal.pthread_kill"),
)
PROGRAMS = {"cc", "gcc", "clang", "uname"}  # compilers; `platform.processor` asks the last


class Monitor:
    """Audit hook that notes what an input must not make the process do."""

    def __init__(self, root: Path, writable: tuple[str, ...], source: Path) -> None:
        """Install the hook, which stays until the process ends.

        Args:
            root: Directory of the inputs.
            writable: Directories in it that commands may write.
            source: Directory of the tree that charlm is imported from.
        """
        self.violations: list[str] = []
        self.is_armed = False
        self.root = f"{root}/"
        self.outside = f"{root}/outside/"
        self.writable = (*(f"{root}/{name}/" for name in writable), "/dev/null")
        temporary = f"{Path(tempfile.gettempdir()).resolve()}/"
        self.writable += (temporary,) if temporary.startswith(self.root) else ()
        self.kernels = f"{root}/cache/kernels/"
        self.code = tuple(
            f"{path}/" for path in (sys.prefix, sys.base_prefix, source, Path(__file__).parent)
        )
        self.readable = (
            *(self.root, *self.code, "/usr/lib/", "/usr/share/", "/lib/", "/usr/local/lib/"),
            *(
                "/proc/self/",
                f"/proc/{os.getpid()}/",
                "/proc/cpuinfo",
                "/proc/meminfo",
                "/proc/stat",
            ),
            *(
                "/proc/meminfo",
                "/sys/fs/cgroup/memory.",  # limits of a container
                "/sys/devices/system/cpu/",
                "/dev/null",
                "/dev/urandom",
                "/etc/ld.so",
                "/etc/localtime",
                "/etc/mime",
            ),
            *("/etc/os-release", "/etc/fonts/", os.path.expanduser("~/.cache/matplotlib")),
        )
        self.sources: tuple[str, ...] = ()  # files that the input names as its text
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_armed:
            return
        self.is_armed = False  # what is asked here is none of the program's doing
        try:
            self._judge(event, arguments)
        finally:
            self.is_armed = True

    def _judge(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, (str, bytes)):
                self._check_open(os.fsdecode(path), flags or 0)
        elif event in PATHS:
            for number in PATHS[event]:
                self._check_written(event, arguments, arguments[number])
        elif event in ("exec", "compile"):
            self._check_code(event, arguments)
        elif event == "import":
            file = arguments[1]
            if file and not str(file).startswith(self.code):
                self.violations.append(f"imported {file}")
        elif event == "subprocess.Popen":
            if Path(os.fsdecode(arguments[0])).name not in PROGRAMS:
                self.violations.append(f"started {arguments[0]!r}")
        elif event == "ctypes.dlopen":
            if arguments[0] and not str(arguments[0]).startswith((self.kernels, *self.code)):
                self.violations.append(f"loaded the library {arguments[0]!r}")
        elif event in FORBIDDEN:
            self.violations.append(f"{event}{arguments!r:.100}")

    def _check_code(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Check that no code of charlm evaluates text, and that no file of the input is run."""
        code = arguments[0] if event == "exec" else None
        name = str(getattr(code, "co_filename", arguments[-1]))
        caller = sys._getframe(3).f_code.co_filename
        if name.startswith(self.root) or ("/charlm/" in caller and "/site-packages/" not in caller):
            self.violations.append(f"{event} of {name} by {caller}")

    def _check_open(self, path: str, flags: int) -> None:
        if flags & WRITING:
            self._check_written("open", (), path)
            return
        folder, name = os.path.split(os.path.abspath(path))
        follows = not flags & os.O_NOFOLLOW
        real = os.path.realpath(path) if follows else f"{os.path.realpath(folder)}/{name}"
        is_outside = real.startswith(self.outside) or not f"{real}/".startswith(self.readable)
        if is_outside and real not in self.sources:
            self.violations.append(f"read {path}")

    def _check_written(self, event: str, arguments: tuple[Any, ...], path: Any) -> None:
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        text = os.fsdecode(path)
        number = DIRECTORY_ARGUMENT.get(event)
        if number is not None and arguments[number] not in (-1, None):
            text = os.path.join(os.readlink(f"/proc/self/fd/{arguments[number]}"), text)
        folder, name = os.path.split(os.path.abspath(text))
        real = f"{os.path.realpath(folder)}/{name}"
        if not f"{real}/".startswith(self.writable) and real != "/dev/null":
            self.violations.append(f"{event} of {text}")

    def watch(self, action: Callable[[], str], sources: tuple[str, ...], normal: int) -> str:
        """Do something, and return what it did that it must not have done, or "".

        Args:
            action: Returns what failed by its own account, or "".
            sources: Files outside that it may read.
            normal: Bytes of memory that it needs with sound files.
        """
        self.violations, self.sources = [], sources
        memory = measure_memory()
        limit = int(time.process_time()) + 1 + CPU_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        self.is_armed = True
        try:
            problem = action()
        finally:
            self.is_armed = False
        grown = memory()
        problems = [problem, *self.violations]
        if grown > normal + MEMORY:
            problems.append(
                f"{grown / 2**20:.0f} MB more memory, with sound files {normal / 2**20:.0f} MB"
            )
        return "; ".join(dict.fromkeys(filter(None, problems)))


def measure_memory() -> Callable[[], int]:
    """Return a function that returns by how many bytes resident memory was larger since then."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak is what is resident now
    before = _status("VmRSS")
    return lambda: _status("VmHWM") - before


def _status(key: str) -> int:
    """Return a number of bytes of /proc/self/status."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(key))
    return int(line.split()[1]) * 1024
