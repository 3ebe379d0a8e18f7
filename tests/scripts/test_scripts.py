"""The long measurements, in small: that they work, and that their targets are in reach."""

import re
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parent.parent / "scripts"


def told(script: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, SCRIPTS / script, *words], capture_output=True, text=True, check=False
    )
    assert "target" in done.stdout, done.stderr
    return done.stdout


def test_encoding_is_fast_and_takes_little_memory_whatever_the_size() -> None:
    """`make bench` does it with 2 GB, on the clock. Here CPU time counts, and half the target of
    speed is enough, as machines are busy."""
    for alphabet in ("characters", "bytes"):
        found = told("measure_encoding.py", "--megabytes", "64", "--vocab", alphabet)
        assert float(re.search(r"(\d+) MB per second", found)[1]) > 25, found  # type: ignore[index]
        assert float(re.search(r"memory (\d+) MB", found)[1]) < 300, found  # type: ignore[index]


def test_the_bench_compares_each_cell_with_the_plain_loop() -> None:
    found = told("bench.py", "--small", "--pairs", "1")
    for cell in ("rnn", "gru", "lstm"):
        row = rf"^s {cell} +(?:compiled|fused) +\d+ +\d+ +\d+\.\d\d +\d+\.\d\d$"
        assert re.search(row, found, re.M), found
        assert re.search(rf"^  {cell} +\d+ +\d+ +\d+\.\d\d$", found, re.M), found
