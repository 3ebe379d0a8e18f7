"""How fast, and in how much memory, a text of any size is encoded: by default one of 2 GB.

    python scripts/measure_encoding.py [--megabytes 2000] [--vocab characters|bytes]

Prints megabytes a second on one core (reading, hashing, encoding, syncing: from the file to the
mapped ids) and the peak memory above that of a process that has only imported torch. Exits 1 where
the targets are missed: 50 MB/s, 300 MB.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

SPEED, MEMORY = 50.0, 300.0  # the targets: MB/s at least, MB at most

CHILD = """
import json, resource, sys, time
import torch
torch.set_num_threads(1)
import charlm.model, charlm.train  # all that a run loads
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
from charlm.config import checked
from charlm.corpus import load
began, busy = time.perf_counter(), time.process_time()
config = checked({"vocab": sys.argv[2]})
corpus = load(config, [sys.argv[1]])
seconds, busy = time.perf_counter() - began, time.process_time() - busy
again = time.perf_counter()
load(config, [sys.argv[1]])
print(json.dumps({
    "seconds": seconds,
    "busy": busy,
    "seconds again": time.perf_counter() - again,
    "memory before": before,
    "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before,
    "symbols": len(corpus.alphabet.symbols),
    "characters": corpus.text.characters,
}))
"""


def generate(path: Path, megabytes: int) -> None:
    """Words of many alphabets in random order: real UTF-8, with characters of one to four bytes."""
    draw = random.Random(0)
    words = ["the", "state", "gate", "remembers", "été", "naïve", "слово", "память", "漢字", "🎈"]
    weights = [30, 20, 20, 15, 4, 3, 3, 2, 2, 1]
    block = b""
    while len(block) < 1 << 20:
        line = " ".join(draw.choices(words, weights, k=draw.randint(4, 14)))
        block += line.encode() + b".\n"
    with path.open("wb") as file:
        written = 0
        while written < megabytes * 10**6:
            start = block.index(b"\n", draw.randrange(1 << 19)) + 1
            written += file.write(block[start:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--vocab", choices=["characters", "bytes"], default="characters")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        text = Path(place) / "text.txt"
        generate(text, asked.megabytes)
        size = text.stat().st_size / 1e6
        env = {**os.environ, "CHARLM_CACHE": str(Path(place) / "cache"), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(text), asked.alphabet],
            env=env,
            stdout=subprocess.PIPE,
            check=True,
        )
        found = json.loads(done.stdout)
    speed = size / found["seconds"]
    print(
        f"{size:,.0f} MB, {found['characters']:,} characters, {found['symbols']} symbols, "
        f"{asked.alphabet}\n"
        f"encoded in {found['seconds']:.1f} s: {speed:.0f} MB/s (target {SPEED:.0f}); "
        f"{size / found['busy']:.0f} MB per second of CPU\n"
        f"found in the cache again in {found['seconds again']:.1f} s\n"
        f"peak memory {found['memory']:.0f} MB above the {found['memory before']:.0f} MB of "
        f"importing torch and charlm (target {MEMORY:.0f})"
    )
    return int(speed < SPEED or found["memory"] > MEMORY)


if __name__ == "__main__":
    sys.exit(main())
