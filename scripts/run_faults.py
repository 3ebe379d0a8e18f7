"""Inject faults and record what held: kills, power cuts, disk errors, damage, hostile files.

    python scripts/run_faults.py [NAME ...] [--scale 1] [--out FILE]

Each hazard is a module of scripts/faults with `run(scale)`. Two run at once, each in a process of
its own. The table goes to standard output. At scale 1 the outcomes replace those of the same
hazards in docs/reference/reliability/faults.json, or in --out. Exits with 1 if anything failed.
"""

import argparse
import datetime
import importlib
import importlib.util
import os
import platform
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from importlib.metadata import version
from pathlib import Path

import msgspec
from faults import HAZARDS
from faults.hazard import Faults, Hazard, Measured

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "docs" / "reference" / "reliability" / "faults.json"
DEADLINE = 5400.0  # seconds that one hazard may take, on a busy machine
PROCESSES = 2


def measure(name: str, scale: float) -> Measured:
    """Run a hazard in a process of its own."""
    command = f"python scripts/run_faults.py {name} --scale {scale:g}"
    measured = partial(Measured, name, command, datetime.date.today().isoformat(), commit())
    if importlib.util.find_spec(f"faults.{name}") is None:
        return measured(None, "there is no such module")
    with tempfile.TemporaryDirectory(prefix="faults-") as directory:
        result = Path(directory) / "hazard.json"
        words = [sys.executable, __file__, name, "--scale", str(scale), "--result", str(result)]
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": directory}
        environ |= {"CHARLM_CACHE": f"{directory}/cache", "PYTHONUNBUFFERED": "1"}
        with (Path(directory) / "log").open("w+b") as log:
            process = subprocess.Popen(
                words, env=environ, stdout=log, stderr=log, start_new_session=True
            )
            try:
                code = process.wait(DEADLINE)
                problem = f"exit code {code}"
            except subprocess.TimeoutExpired:
                problem = f"not done after {DEADLINE:g} seconds"
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            if result.exists():
                return measured(msgspec.json.decode(result.read_bytes(), type=Hazard))
            log.seek(0)
            lines = log.read().decode(errors="replace").splitlines() or [""]
            print(f"{name}: {problem}", *lines[-20:], sep="\n  ", file=sys.stderr)
            return measured(None, problem)


def commit() -> str:
    """Return the commit of this repository, and whether files differ from it."""
    words = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def record(path: Path, measured: tuple[Measured, ...]) -> None:
    """Write outcomes to a record, in place of those that it has of the same hazards."""
    rows = {one.module: one for one in measured}
    if path.exists():
        kept = msgspec.json.decode(path.read_bytes(), type=Faults).measured
        rows = {one.module: one for one in kept} | rows
    names = ("charlm", "torch", "safetensors", "msgspec")
    faults = Faults(
        machine=describe_machine(),
        versions={"python": platform.python_version()} | {name: version(name) for name in names},
        measured=tuple(rows[name] for name in HAZARDS if name in rows),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(faults), indent=2) + b"\n")


def describe_machine() -> str:
    """Return cores, processor and system in one line."""
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {platform.machine()}, {platform.system()} {platform.release()}"


def print_table(measured: tuple[Measured, ...]) -> None:
    """Print a row per hazard, and each failure below it."""
    print(f"{'hazard':44} {'trials':>8} {'failures':>8} {'CPU s':>7}")
    for one in measured:
        if one.hazard is None:
            print(f"{one.module:44} {one.problem}")
            continue
        hazard = one.hazard
        failed = len(hazard.failures)
        print(f"{hazard.name:44} {hazard.trials:8,} {failed:8,} {hazard.seconds:7.0f}")
        for failure in hazard.failures[:10]:
            print(f"    {failure}")


def main() -> None:
    """Run the hazards that are named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(HAZARDS)}")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the trials")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.names or HAZARDS
    if options.result:  # the process of one hazard
        module = importlib.import_module(f"faults.{names[0]}")
        options.result.write_bytes(msgspec.json.encode(module.run(options.scale)))
        return
    path = options.out or (RECORD if options.scale == 1 else None)
    rows: dict[str, Measured] = {}
    with ThreadPoolExecutor(PROCESSES) as pool:
        for future in as_completed(pool.submit(measure, name, options.scale) for name in names):
            one = future.result()
            rows[one.module] = one
            if path:  # at once: the others may take an hour
                record(path, (one,))
    measured = tuple(rows[name] for name in names)
    print_table(measured)
    if not all(one.hazard and not one.hazard.failures for one in measured):
        sys.exit(1)


if __name__ == "__main__":
    main()
