"""Hostile runs and comparisons: mutated files of a stranger, through every command that reads them.

python scripts/faults/hostile.py --only N     # one input again, with its traceback
"""

import argparse
import ctypes
import gc
import importlib
import json
import mmap
import os
import pkgutil
import resource
import signal
import struct
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

import charlm
from charlm.execution import device
from faults.hazard import Hazard
from faults.hostile_drivers import COMMANDS, FUNCTIONS, OUTPUT, RUN, CommandLine, call, clear
from faults.hostile_files import Sandbox, write_tree
from faults.hostile_inputs import NAMED, Input, make_input
from faults.hostile_monitor import HANG_SECONDS, Monitor, measure_memory
from faults.places import memory_directory

INPUTS = 100_000
PROCESSES = 2  # that share the inputs
BATCH = 1000  # inputs of a fork of such a process
CHECK = 20  # inputs between two looks at what must stay untouched
WHOLE_COMMAND = 50  # every such input goes through the whole command line
ALLOCATOR = {-1: 2**20, -3: 2**20, -4: 65_536}  # mallopt: M_TRIM_, M_MMAP_THRESHOLD, M_MMAP_MAX
DIRECTORY = "run"  # of the sandbox: the hostile one
SOURCE = Path(charlm.__file__).resolve().parent.parent
METHOD = (
    "{trials:,} mutated files of runs and comparisons, with their hashes made right again: "
    "{functions:,} through the functions that the commands call, {commands:,} through the whole "
    "command line, in forked processes under an audit hook"
)


def run(scale: float) -> Hazard:
    """Run inputs with faults that were once found, and the first others; at scale 1 all."""
    start = _cpu_seconds()
    numbers = range(-NAMED, round(INPUTS * scale))
    with memory_directory() as directory:
        failures = _share_inputs(numbers, directory)
    commands = sum(map(is_whole_command, numbers))
    return Hazard(
        "hostile runs and comparisons",
        METHOD.format(trials=len(numbers), functions=len(numbers) - commands, commands=commands),
        len(numbers),
        failures,
        _cpu_seconds() - start,
    )


def _cpu_seconds() -> float:
    """Return the CPU seconds of this process and its children."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def is_whole_command(number: int) -> bool:
    """Return whether an input goes through the whole command line."""
    return number % WHOLE_COMMAND == WHOLE_COMMAND - 1


def _share_inputs(numbers: Sequence[int], directory: Path) -> tuple[str, ...]:
    """Return what did not hold, of inputs in two processes, each with a directory of its own."""
    _import_everything()
    processes = {}
    for place in range(PROCESSES):
        log = directory / f"failures-{place}"

        def work(place: int = place, log: Path = log) -> None:
            (directory / str(place)).mkdir()
            failures = run_inputs(numbers[place::PROCESSES], directory / str(place))
            log.write_text("".join(f"{failure}\n" for failure in failures))

        processes[_fork(work)] = log
    failures = []
    for process, log in processes.items():
        if code := _wait(process):
            raise RuntimeError(f"a process with a share of the inputs ended with {code}")
        failures += log.read_text().splitlines()
    return tuple(failures)


def run_inputs(numbers: Sequence[int], directory: Path) -> tuple[str, ...]:
    """Return what did not hold, of inputs in forked processes.

    Args:
        numbers: Numbers of the inputs.
        directory: Empty directory.
    """
    _import_everything()
    sandbox = Sandbox(directory)
    if not sandbox.is_trained and (code := _in_fork(sandbox.train)):
        raise RuntimeError(f"the sound runs cannot be trained: exit code {code}")
    sandbox.load()
    log = sandbox.root / "failures"
    if code := _in_fork(lambda: _serve(numbers, sandbox, log)):
        raise RuntimeError(f"the process that forks the others ended with {code}")
    return tuple(log.read_text().splitlines())


def _serve(numbers: Sequence[int], sandbox: Sandbox, log: Path) -> None:
    """Run inputs in forks of this process, which has called everything once."""
    _return_memory_at_once()
    os.environ["TMPDIR"] = str(sandbox.root / "tmp")
    sandbox.use_cache()
    os.chdir(sandbox.root)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    terminal = CommandLine(sandbox.root / "tmp" / "output")
    monitor = Monitor(sandbox.root, (DIRECTORY, OUTPUT, "cache", "tmp"), SOURCE)
    current = mmap.mmap(-1, 8)  # place in `numbers` of the input that a process is at
    start = 0
    log.write_bytes(b"")
    with log.open("a") as failures:
        problems = _warm_up(sandbox, terminal)
        failures.writelines(f"sound files: {problem}\n" for problem in problems)
        gc.collect()
        gc.freeze()  # a collection in a fork would look at all libraries, and so copy their pages
        normal = _measure_sound_files(sandbox, terminal)
        while start < len(numbers):
            end, first = min(len(numbers), start + BATCH), start
            failures.flush()

            def run_batch(part: Sequence[int] = numbers[start:end]) -> None:
                _run_batch(part, sandbox, terminal, monitor, normal, current, log)

            if code := _in_fork(run_batch):
                end = first + struct.unpack("q", current[:8])[0] + 1
                one = make_input(numbers[end - 1], sandbox)
                failures.write(f"{one}: {_describe_end(code)}\n")
            start = end


def _return_memory_at_once() -> None:
    """Let the allocator of C keep nothing large that was freed, so that each input is measured.

    Training lets it keep everything, which is faster; then a large block may be an old one.
    """
    library = ctypes.CDLL(None)
    for parameter, value in ALLOCATOR.items():
        if not library.mallopt(parameter, value):
            raise RuntimeError("mallopt has failed")
    vars(device)["disable_malloc_trim"] = lambda: None


def _in_fork(action: Callable[[], object]) -> int:
    """Do something in a forked process, and return how it ended: as `os.waitstatus_to_exitcode`."""
    return _wait(_fork(action))


def _wait(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _fork(action: Callable[[], object]) -> int:
    """Do something in a forked process, and return its number."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            tempfile.tempdir = None
            action()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return process


def _describe_end(code: int) -> str:
    if code > 0:
        return f"the process ended with {code}"
    name = signal.Signals(-code).name
    causes = {"SIGXCPU": "more than 5 s of CPU", "SIGALRM": "it hangs"}
    return causes.get(name, f"the process was ended by {name}")


def _run_batch(
    numbers: Sequence[int],
    sandbox: Sandbox,
    terminal: CommandLine,
    monitor: Monitor,
    normal: dict[str, int],
    current: mmap.mmap,
    log: Path,
) -> None:
    """Run inputs in this process, and append what did not hold to a log."""
    untouched = sandbox.untouched()
    with log.open("a") as failures:
        for place, number in enumerate(numbers):
            current[:8] = struct.pack("q", place)
            signal.alarm(HANG_SECONDS)
            one = make_input(number, sandbox)
            problem = _run_input(one, sandbox, terminal, monitor, normal[one.driver])
            if place % CHECK == CHECK - 1 or place == len(numbers) - 1:
                now = sandbox.untouched()
                if now != untouched:
                    problem += f"; it or one of the {CHECK} inputs before changed what is outside"
                    untouched = now
            if problem:
                failures.write(json.dumps(f"{one}: {problem[:400]}")[1:-1] + "\n")
                failures.flush()


def _run_input(
    one: Input, sandbox: Sandbox, terminal: CommandLine, monitor: Monitor, normal: int
) -> str:
    """Run one input, and return what did not hold, or ""."""
    path, out = sandbox.root / DIRECTORY, sandbox.root / OUTPUT
    one.place(path, sandbox.root / "outside")
    clear(out)
    named: tuple[str, ...] = ()
    if is_whole_command(one.number):
        variants = COMMANDS[one.driver]
        words = variants[one.number // WHOLE_COMMAND % len(variants)]
        named = tuple(DIRECTORY if word == RUN else word for word in words)

    def action() -> str:
        code, problem = terminal.run(named) if named else call(one.driver, path, out)
        if one.is_refused and code == 0:
            return f"{problem}; it was accepted, though its tensors are not those of the run"
        return problem

    return monitor.watch(action, _named_sources(one), normal)


def _named_sources(one: Input) -> tuple[str, ...]:
    """Return the texts that the input names, which may be read."""
    try:
        sources = json.loads(one.files["run.json"])["text"]["sources"]
        return tuple(os.path.realpath(source) for source in sources)
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()


def _warm_up(sandbox: Sandbox, terminal: CommandLine) -> Iterator[str]:
    """Read sound files with everything, so that libraries allocate what they keep.

    Yields what does not even hold for these.
    """
    path, out = sandbox.root / DIRECTORY, sandbox.root / OUTPUT
    for driver, variants in COMMANDS.items():
        write_tree(path, _sound(driver, sandbox))
        clear(out)
        code, problem = terminal.run(
            tuple(DIRECTORY if word == RUN else word for word in variants[0])
        )
        if problem or code:
            yield f"{' '.join(variants[0])}: exit code {code}: {terminal.output()!r}"
        write_tree(path, _sound(driver, sandbox))
        clear(out)
        FUNCTIONS[driver](path, out)


def _measure_sound_files(sandbox: Sandbox, terminal: CommandLine) -> dict[str, int]:
    """Return the bytes of memory that the first reading of sound files takes in a fork, by driver.

    A fork maps the pages of libraries again, as it touches them.
    """
    path, out = sandbox.root / DIRECTORY, sandbox.root / OUTPUT
    shared = mmap.mmap(-1, 8)
    normal = {}
    for driver, variants in COMMANDS.items():
        words = tuple(DIRECTORY if word == RUN else word for word in variants[0])

        def read(driver: str = driver, words: tuple[str, ...] = words) -> None:
            memory = measure_memory()
            terminal.run(words)
            write_tree(path, _sound(driver, sandbox))
            clear(out)
            FUNCTIONS[driver](path, out)
            shared[:8] = struct.pack("q", memory())

        write_tree(path, _sound(driver, sandbox))
        clear(out)
        if code := _in_fork(read):
            raise RuntimeError(f"{driver} ended with {code} on sound files")
        normal[driver] = struct.unpack("q", shared[:8])[0]
    return normal


def _sound(driver: str, sandbox: Sandbox) -> dict[str, bytes]:
    if driver in ("report", "compare_again"):
        return sandbox.comparison
    return (sandbox.finished if driver in ("compare", "export") else sandbox.runs)["lstm"]


def _import_everything() -> None:
    """Import all modules, so that a command imports none while it is watched."""
    torch.set_num_threads(1)
    for module in pkgutil.walk_packages(charlm.__path__, "charlm."):
        if module.name != "charlm.execution.ray_dispatcher":
            importlib.import_module(module.name)


def main() -> None:
    """Run the inputs that are named, and print what did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of inputs")
    parser.add_argument("--range", type=int, nargs=2, help="first number, and one past the last")
    parser.add_argument("--directory", type=Path, help="keeps the sound runs for the next call")
    options = parser.parse_args()
    numbers = options.only or range(*(options.range or (0, 1000)))
    with tempfile.TemporaryDirectory(prefix="hostile-") as directory:
        for failure in run_inputs(numbers, options.directory or Path(directory)):
            print(failure)


if __name__ == "__main__":
    main()
