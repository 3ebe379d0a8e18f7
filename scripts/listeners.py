"""Measure on which addresses torchrun and Ray listen while charlm trains with them.

    python scripts/listeners.py [NAME ...]

Each way to start is run on this machine. While it trains, the listening sockets of its processes
are read from /proc. Prints one line per way and kind of process. Names: those of WAYS, gloo,
namespace, ray and ray-local.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

BIN = Path(sys.executable).parent
TRAIN = ["--hidden-size", "8", "--batch-size", "4", "--seq-len", "16", "--max-steps", "1000000"]
LISTENING = "0A"  # state in /proc/net/tcp
LOCAL = ("127.", "::1", "::ffff:127.")
DEADLINE = 300.0  # seconds
# Options of torchrun for two processes on one machine.
WAYS = {
    "standalone": ["--standalone"],
    "endpoint": ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:29411"],
    "local-addr": ["--local-addr", "127.0.0.1", "--standalone"],
    "master": ["--master-addr", "127.0.0.1", "--master-port", "29412"],
}
NAMESPACE = [
    "unshare",
    "--map-root-user",
    "--net",
    "sh",
    "-c",
    'ip link set lo up && exec "$@"',
    "-",
]


def decode_address(text: str) -> str:
    """Return the IP address and port of /proc/net/tcp or tcp6."""
    digits, port = text.split(":")
    # Words of four bytes in the order of the machine.
    words = [bytes.fromhex(digits[i : i + 8])[::-1] for i in range(0, len(digits), 8)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return f"{socket.inet_ntop(family, b''.join(words))} port {int(port, 16)}"


def listening_sockets(process: int) -> dict[str, str]:
    """Return the addresses that a process's network listens on, by inode."""
    sockets = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING:
                sockets[fields[9]] = decode_address(fields[1])
    return sockets


def descendants(top: int) -> list[int]:
    """Return a process and all processes below it."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [top]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def listeners(processes: Sequence[int]) -> dict[str, set[str]]:
    """Return the kinds of processes, and the addresses that each listens on."""
    found: dict[str, set[str]] = {}
    for process in processes:
        with suppress(OSError):
            sockets = listening_sockets(process)
            words = Path(f"/proc/{process}/cmdline").read_text().split("\0")
            kind = describe_process(words)
            for descriptor in Path(f"/proc/{process}/fd").iterdir():
                inode = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(descriptor))
                if inode and inode[1] in sockets:
                    found.setdefault(kind, set()).add(sockets[inode[1]])
    return found


def describe_process(words: Sequence[str]) -> str:
    """Return the name of the program of a command line."""
    names = [Path(word).name for word in words if word]
    if names and names[0].startswith("python"):
        scripts = [n for n in names[1:] if not n.startswith("-")]
        return "a rank" if "charlm" in names and "-u" in names else (scripts or names)[0]
    return names[0] if names else "?"


@contextmanager
def running(words: Sequence[str], environ: Mapping[str, str], log: Path) -> Iterator[int]:
    """Run a program in a session of its own; at the end all of its processes are gone."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            words, env=dict(environ), stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield process.pid
    finally:
        for child in reversed(descendants(process.pid)):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        process.wait()


def wait_for_steps(metrics: Path, log: Path) -> None:
    """Wait until a run has logged steps."""
    deadline = time.monotonic() + DEADLINE
    while not (metrics.exists() and metrics.stat().st_size):
        if time.monotonic() > deadline:
            sys.exit(f"no step in {DEADLINE:.0f} s:\n{log.read_text()}")
        time.sleep(0.2)


def outer_interfaces() -> list[str]:
    """Return the network interfaces by which this machine reaches any other."""
    rows = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    return [row[0] for row in rows if row[1] == "00000000"]


def measure_torchrun(
    options: Sequence[str], prefix: Sequence[str] = (), interface: str = ""
) -> dict[str, set[str]]:
    """Return what two processes that torchrun started listen on.

    Args:
        options: Options of torchrun.
        prefix: Command that starts torchrun.
        interface: Network interface of gloo; empty: the one of the host name.
    """
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        text, run, log = directory / "book.txt", directory / "run", directory / "log"
        text.write_text("to be or not to be, that is the question. " * 200)
        words = [*prefix, str(BIN / "torchrun"), *options, "--nproc-per-node", "2", "-m", "--"]
        words += ["charlm", "train", str(text), *TRAIN, "--run", str(run)]
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "CHARLM_CACHE": f"{directory}/cache"}
        if interface:
            environ["GLOO_SOCKET_IFNAME"] = interface
        with running(words, environ, log) as process:
            wait_for_steps(run / "metrics.jsonl", log)
            return listeners(descendants(process))


def measure_ray(options: Sequence[str]) -> dict[str, set[str]]:
    """Return what a Ray cluster of this machine listens on."""
    with tempfile.TemporaryDirectory(prefix="ray-") as name:
        words = [str(BIN / "ray"), "start", "--head", "--num-cpus=1", "--block", *options]
        words += [f"--temp-dir={name}", "--object-store-memory=80000000"]
        log = Path(name) / "log"
        with running(words, {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}, log) as process:
            deadline = time.monotonic() + DEADLINE
            while "raylet" not in (found := listeners(descendants(process))):
                if time.monotonic() > deadline:
                    sys.exit(log.read_text())
                time.sleep(1)
            time.sleep(10)  # its agents start after it
            return found | listeners(descendants(process))


def print_listeners(name: str, found: Mapping[str, set[str]], is_isolated: bool = False) -> None:
    """Print a line per kind of process.

    Args:
        name: How they were started.
        found: Addresses by kind.
        is_isolated: Whether they are in a network namespace without other interfaces.
    """
    if not found:
        print(f"{name:14} listens nowhere")
    for kind, addresses in found.items():
        hosts = sorted({address.split()[0] for address in addresses})
        is_open = not is_isolated and any(not host.startswith(LOCAL) for host in hosts)
        reach = "reachable from other machines" if is_open else "this machine only"
        print(f"{name:14} {kind:24} {len(addresses):2} on {', '.join(hosts)}: {reach}", flush=True)


def main() -> None:
    """Measure the ways that are named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    names = parser.parse_args().names or [*WAYS, "gloo", "namespace", "ray", "ray-local"]
    for name in names:
        if name == "ray":
            print_listeners(name, measure_ray([]))
        elif name == "ray-local":
            print_listeners(name, measure_ray(["--node-ip-address=127.0.0.1"]))
        elif name == "gloo":
            for interface in ("lo", *outer_interfaces()[:1]):
                found = measure_torchrun(WAYS["standalone"], (), interface)
                print_listeners(f"gloo on {interface}", found)
        elif name == "namespace":
            if shutil.which("unshare") and shutil.which("ip"):
                print_listeners(name, measure_torchrun(WAYS["standalone"], NAMESPACE), True)
        else:
            print_listeners(name, measure_torchrun(WAYS[name]))


if __name__ == "__main__":
    main()
