"""Compiled kernels under AddressSanitizer and UBSan: every cell, odd shapes, forwards and back.

The sanitizers come from the compiler: $CC is a script that adds their options, and their runtime is
loaded before Python. Nothing in charlm knows of them.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from charlm.cells.loader import get_cell
from charlm.cells.names import CELL_NAMES
from charlm.kernels.registry import supported_kernels
from faults.hazard import Hazard

# Without optimization each access of the C text is one that is checked. The last option counts.
OPTIONS = "-O0 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined"
TRIALS = Path(__file__).with_name("sanitizer_trials.py")
PLANTED = "rnn"  # the cell with the planted faults, whose loops are the simplest
FAULTS = ("extents-unchecked", "loop-runs-too-far")  # planted: each must be reported


def sanitizer_environment(folder: Path) -> dict[str, str]:
    """Return the environment variables of a fresh process whose kernels are checked.

    Args:
        folder: Directory for the compiler script and the reports, outside of the cache.

    Raises:
        FileNotFoundError: GCC or its sanitizers are not installed.
    """
    command = ["gcc", "-print-file-name=libasan.so"]
    library = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    if not os.path.isabs(library):
        raise FileNotFoundError("libasan.so of GCC is not installed")
    script = folder / "cc-sanitized"
    script.write_text(f'#!/bin/sh\nLD_PRELOAD= exec gcc "$@" {OPTIONS}\n')
    script.chmod(0o700)
    reports = f"log_path={folder / 'report'}"
    return {
        "CC": str(script),
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": f"detect_leaks=0:{reports}",
        "UBSAN_OPTIONS": f"halt_on_error=1:print_stacktrace=1:{reports}",
    }


def sanitizer_reports(folder: Path) -> list[str]:
    """Return one line for each report that was written into a folder."""
    lines = []
    for path in sorted(folder.glob("report.*")):
        text = path.read_text(errors="replace")
        errors = [
            line for line in text.splitlines() if "ERROR:" in line or "runtime error:" in line
        ]
        lines += errors or [text[:200]]
    return lines


def run_trials(
    cells: Sequence[str], sizes: int, fault: str, folder: Path
) -> tuple[int, tuple[str, ...]]:
    """Run the trials of some cells in a fresh process, and then a planted fault.

    Args:
        cells: Names.
        sizes: Pairs of sizes of each, at most 2.
        fault: One of FAULTS, which must be reported.
        folder: Directory.

    Returns:
        Calls of compiled functions, and what did not hold.
    """
    folder.mkdir(exist_ok=True)
    environment = os.environ | sanitizer_environment(folder)
    command = [sys.executable, str(TRIALS), str(folder / "calls"), str(sizes), fault, *cells]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    log = folder / "calls"
    calls = (log.read_text().split() if log.exists() else []) or ["start"]
    reports = sanitizer_reports(folder)
    if calls[-1].startswith("planted") and "AddressSanitizer" in "".join(reports):
        return len(calls) - 1, ()
    output = done.stderr.decode(errors="replace").splitlines()[-1:]
    problem = "; ".join([*reports, *output]) or f"the planted fault {fault} was not reported"
    return len(calls), (f"{calls[-1]}: {problem}",)


def has_compiled_kernel(name: str) -> bool:
    """Return whether the step of a cell can be compiled to C."""
    return "compiled" in supported_kernels(get_cell(name)(4, 8), "cpu", build=False)


def run(scale: float) -> Hazard:
    """Run a share of the cells; at scale 1, all of them in two sizes, and in float64."""
    start = time.process_time() + sum(os.times()[2:4])
    is_full = scale >= 1
    compiled = sorted(filter(has_compiled_kernel, CELL_NAMES), key=lambda name: name != PLANTED)
    cells = compiled[: max(1, round(scale * len(compiled)))]
    plans = (
        [(cells, 2, FAULTS[0]), (cells[:1], 1, FAULTS[1])] if is_full else [(cells, 1, FAULTS[1])]
    )
    trials = 0
    failures: tuple[str, ...] = ()
    for names, sizes, fault in plans:
        with TemporaryDirectory() as directory:
            calls, problems = run_trials(names, sizes, fault, Path(directory))
        trials, failures = trials + calls, failures + problems
    return Hazard(
        "compiled code leaves its buffers",
        f"AddressSanitizer and UBSan: {len(cells)} cells, odd sizes, forwards, backwards, token by "
        "token; then a planted fault, which is reported",
        trials,
        failures,
        time.process_time() + sum(os.times()[2:4]) - start,
    )
