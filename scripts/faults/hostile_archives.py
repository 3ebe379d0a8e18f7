"""Hostile compressed files and exported models: they end in one line, with bounded memory."""

import contextlib
import hashlib
import io
import json
import random
import resource
import sys
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import msgspec
import numpy as np

from charlm.compression.container import Container
from charlm.errors import DataError
from charlm.exporting import numpy_reader
from charlm.results.compression import Build
from faults.hazard import Hazard
from faults.hostile_values import mutate_bytes, mutate_json

TRIALS = 20_000
MEMORY_BYTES = 50_000_000
HIDDEN = 3
TOKENS = (97, 98, 99)
BAD_MODEL = 65


def run(scale: float) -> Hazard:
    """Change compressed files and exported folders, and read them."""
    failures: list[str] = []
    trials = max(20, round(TRIALS * scale))
    with TemporaryDirectory() as name:
        folder = Path(name)
        packed = write_container(folder / "a.clz")
        exported = write_model(folder / "model")
        for number in range(trials):
            rng = random.Random(f"archive {number}")
            if number % 2:
                problem = read_container(folder / "a.clz", packed, mutate_bytes(packed, rng))
            else:
                problem = read_model(folder / "model", exported, number // 2, rng)
            if problem:
                failures.append(f"trial {number}: {problem}"[:300])
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Hazard(
        name="hostile archives",
        method="compressed files and exported models are changed at random and read",
        trials=trials,
        failures=tuple(failures),
        seconds=used.ru_utime + used.ru_stime,
    )


def write_container(path: Path) -> bytes:
    """Write a compressed file."""
    container = Container(
        weights_sha256=bytes(32),
        original_sha256=bytes(32),
        vocabulary_hash=bytes(8),
        arithmetic_hash=bytes(8),
        original_bytes=400,
        build=Build("0", "2", "2", "0.4", "x86_64", "loop"),
        words=np.arange(20, dtype=np.uint32),
    )
    path.write_bytes(b"".join(container.encode()))
    return path.read_bytes()


def read_container(path: Path, sound: bytes, data: bytes) -> str:
    """Read a changed file; return what did not hold."""
    path.write_bytes(data)
    try:
        Container.read(path)
    except DataError as error:
        return "two lines" if "\n" in str(error) else ""
    except Exception as error:  # no refusal
        return f"{type(error).__name__}: {error}"
    return "" if data == sound else "a changed file was read"


def write_model(folder: Path) -> dict[str, bytes]:
    """Write an exported model of few operations: state + table[token], squashed."""
    folder.mkdir()
    table = np.ones((len(TOKENS) + 1, HIDDEN), np.float32).tobytes()
    header = {"table": {"dtype": "F32", "shape": [4, HIDDEN], "data_offsets": [0, len(table)]}}
    raw = json.dumps(header).encode()
    weights = len(raw).to_bytes(8, "little") + raw + table
    zero = {"op": "constant", "values": ["0"], "shape": [1, HIDDEN], "output": "h0"}
    first = {"op": "constant", "values": ["0"], "shape": [1, 4], "output": "first"}
    step = [
        {
            "op": "take",
            "inputs": ["table", "token"],
            "axes": [0],
            "shape": [1, HIDDEN],
            "output": "row",
        },
        {"op": "add", "inputs": ["row", "h"], "output": "sum"},
        {"op": "tanh", "inputs": ["sum"], "output": "new"},
        {
            "op": "transpose",
            "inputs": ["table"],
            "axes": [1, 0],
            "shape": [3, 4],
            "output": "columns",
        },
        {"op": "matmul", "inputs": ["new", "columns"], "output": "logits"},
    ]
    graph = {
        "format": numpy_reader.FORMAT,
        "states": [{"name": "h"}],
        "start": {"operations": [first, zero], "outputs": ["first", "h0"]},
        "step": {"operations": step, "outputs": ["logits", "new"]},
    }
    files = {
        "config.json": json.dumps({"weights_sha256": _sha256(weights)}).encode(),
        "graph.json": json.dumps(graph).encode(),
        "vocabulary.json": json.dumps({"kind": "chars", "tokens": TOKENS}).encode(),
        "model.safetensors": weights,
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return files


def read_model(folder: Path, files: dict[str, bytes], number: int, rng: random.Random) -> str:
    """Sample from a changed model as its command does; return what did not hold."""
    name = list(files)[number % len(files)]
    if name.endswith(".json"):
        changed = {name: mutate_json(files[name], number, rng)}
    else:  # with the right hash
        data = mutate_bytes(files[name], rng)
        changed = {name: data, "config.json": _with_hash(files["config.json"], data)}
    for file, data in changed.items():
        (folder / file).write_bytes(data)
    tracemalloc.start()
    code, text = _call(folder, rng.choice((["ab"], ["", "--score", str(folder / "graph.json")])))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for file in changed:
        (folder / file).write_bytes(files[file])
    if code not in (0, BAD_MODEL) or text.count("\n") > 1:
        return f"{name}: exit code {code}: {text}"
    return f"{name}: {peak / 1e6:.0f} MB" if peak > MEMORY_BYTES else ""


def _call(folder: Path, words: list[str]) -> tuple[object, str]:
    """Return exit code and messages of char_lm.py of a folder."""
    errors, output = io.StringIO(), io.TextIOWrapper(io.BytesIO())
    with (
        mock.patch.object(sys, "argv", ["char_lm.py", *words, "--length", "5"]),
        mock.patch.object(numpy_reader.CharLM.__init__, "__defaults__", (folder, "float32")),
        mock.patch("signal.signal"),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        try:
            numpy_reader.main()
        except SystemExit as end:
            return end.code, errors.getvalue()
        except BaseException as error:
            return type(error).__name__, str(error)
    return 0, errors.getvalue()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _with_hash(config: bytes, weights: bytes) -> bytes:
    return msgspec.json.encode({**json.loads(config), "weights_sha256": _sha256(weights)})
