"""Measure the speed and memory of encoding a text, 2 GB by default.

    python scripts/measure_encoding.py [--megabytes 2000] [--vocab chars|bytes]

Prints megabytes per second on one core (from the file to mapped ids: read, hash, encode, sync) and
the peak memory above that of a process that has only imported torch and charlm. Exits with 1 if a
target is missed: 50 MB/s, 300 MB.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

MIN_SPEED, MAX_MEMORY = 50.0, 300.0  # MB/s, MB

CHILD = """
import json, resource, sys, time
import torch
torch.set_num_threads(1)
import charlm.models.build, charlm.training.session  # all that a run imports
memory_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
from charlm.config import validate_config
from charlm.data.corpus import load_corpus
config = validate_config({"vocab": sys.argv[2]})
start, cpu_start = time.perf_counter(), time.process_time()
corpus = load_corpus(sys.argv[1], config)
seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
start = time.perf_counter()
load_corpus(sys.argv[1], config)
print(json.dumps({
    "seconds": seconds,
    "cpu_seconds": cpu_seconds,
    "cached_seconds": time.perf_counter() - start,
    "memory_before": memory_before,
    "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - memory_before,
    "tokens": len(corpus.vocabulary.tokens),
    "characters": corpus.record.characters,
}))
"""


class Measurement(msgspec.Struct, frozen=True):
    """Output of the child process."""

    seconds: float
    cpu_seconds: float
    cached_seconds: float  # to load the text from the cache
    memory_before: float  # MB
    memory: float  # MB above memory_before
    tokens: int  # size of the vocabulary
    characters: int


def write_text(path: Path, megabytes: int) -> None:
    """Write words of many scripts in random order: UTF-8 characters of one to four bytes."""
    generator = random.Random(0)
    words = ["the", "state", "gate", "remembers", "été", "naïve", "слово", "память", "漢字", "🎈"]
    weights = [30, 20, 20, 15, 4, 3, 3, 2, 2, 1]
    block = b""
    while len(block) < 1 << 20:
        line = " ".join(generator.choices(words, weights, k=generator.randint(4, 14)))
        block += line.encode() + b".\n"
    with path.open("wb") as file:
        written = 0
        while written < megabytes * 10**6:
            start = block.index(b"\n", generator.randrange(1 << 19)) + 1
            written += file.write(block[start:])


def main() -> int:
    """Measure, print the result and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=2000, help="size of the text")
    parser.add_argument(
        "--vocab", choices=["chars", "bytes"], default="chars", help="kind of the vocabulary"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        text = Path(directory) / "text.txt"
        write_text(text, arguments.megabytes)
        size = text.stat().st_size / 1e6
        cache = str(Path(directory) / "cache")
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(text), arguments.vocab],
            env={**os.environ, "CHARLM_CACHE": cache, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            check=True,
        )
        result = msgspec.json.decode(child.stdout, type=Measurement)
    speed = size / result.seconds
    print(
        f"{size:,.0f} MB, {result.characters:,} characters, {result.tokens} tokens, "
        f"{arguments.vocab}\n"
        f"encoded in {result.seconds:.1f} s: {speed:.0f} MB/s (target {MIN_SPEED:.0f}); "
        f"{size / result.cpu_seconds:.0f} MB per second of CPU\n"
        f"loaded from the cache in {result.cached_seconds:.1f} s\n"
        f"peak memory {result.memory:.0f} MB above the {result.memory_before:.0f} MB of "
        f"importing torch and charlm (target {MAX_MEMORY:.0f})"
    )
    return int(speed < MIN_SPEED or result.memory > MAX_MEMORY)


if __name__ == "__main__":
    sys.exit(main())
