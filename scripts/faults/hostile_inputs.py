"""Hostile inputs by number: the same number is always the same files and the same command."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from faults.hostile_files import (
    NODES,
    RUNS,
    Files,
    Sandbox,
    bare,
    manifest_with_own_hash,
    place_node,
    seal,
    sealed_like,
    write_tree,
)
from faults.hostile_tensors import describe, mutate_tensors, with_other_size
from faults.hostile_values import mutate_bytes, mutate_json

Mutation = Callable[[bytes, int, random.Random], bytes]

KINDS = (  # of twenty inputs
    *("training", "run", "training", "comparison", "model", "report", "training", "run"),
    *("vocabulary", "training", "progress", "model", "run", "manifest", "training", "metrics"),
    *("node", "comparison", "bytes", "model"),
)
LINE_FILES = ("metrics.jsonl", "events.jsonl")
READ = (
    "score",
    "sample",
    "inspect",
    "export",
    "resume",
    "init",
    "diff",
    "list",
    "clean",
    "compare",
)
DRIVERS = {  # kind -> functions that read its files; the first ones more often
    "training": (*["resume"] * 6, "verify", "score"),
    "model": (*READ * 2, "export", "diff", "verify"),
    "run": (*READ, "score", "resume", "list", "verify"),
    "vocabulary": ("score", "sample", "resume", "init", "inspect", "list", "export", "verify"),
    "progress": ("resume", "score", "list", "resume", "verify"),
    "manifest": ("resume", "score", "list", "clean", "verify"),
    "report": ("compare", "list", "compare", "clean", "list", "verify"),
    "metrics": ("metrics", "compare", "resume", "list", "verify"),
    "comparison": ("report", "report", "compare_again", "metrics", "list", "clean"),
    "node": (*READ, "metrics", "report", "compare_again", "verify"),
    "bytes": (*READ, "metrics", "report", "compare_again", "verify"),
}
OF_FINISHED = {"compare", "export", "clean"}
OF_COMPARISON = {"report", "compare_again"}
CHECKPOINTED = {"training": "training.safetensors", "model": "model.safetensors"}
CHECKPOINTED |= {"progress": "progress.json", "manifest": "manifest.json"}


class Input(NamedTuple):
    """Files in a directory, and what is done with them.

    Attributes:
        number: Number of the input.
        kind: Which file is hostile.
        driver: Function or command that reads them.
        files: Content of the directory.
        changed: Name of the hostile file.
        node: What stands in its place; empty: its content is hostile.
        is_refused: Whether the command must refuse it, since the run has no other checkpoint.
    """

    number: int
    kind: str
    driver: str
    files: Files
    changed: str
    node: str = ""
    is_refused: bool = False

    def place(self, directory: Path, outside: Path) -> None:
        """Write the directory."""
        write_tree(directory, self.files)
        if self.node:
            place_node(directory / self.changed, self.node, outside)

    def __str__(self) -> str:
        """Return number, kind, driver and file."""
        node = f" as {self.node}" if self.node else ""
        return f"input {self.number}: {self.driver} with {self.changed}{node}"


def _json(data: bytes, index: int, rng: random.Random) -> bytes:
    return sealed_like(data, mutate_json(bare(data), index, rng))


def _manifest(data: bytes, index: int, rng: random.Random) -> bytes:
    changed = mutate_json(data, index, rng)
    return manifest_with_own_hash(changed) if rng.random() < 0.7 else changed


def _lines(data: bytes, index: int, rng: random.Random) -> bytes:
    """Change one line, or the bytes of a log."""
    lines = data.splitlines()
    if not lines or index % 4 == 3:
        return mutate_bytes(data, rng)
    number = rng.randrange(len(lines))
    lines[number] = mutate_json(lines[number], index // 4, rng).replace(b"\n", b" ")
    return b"\n".join(lines) + b"\n"


def _random_bytes(data: bytes, _: int, rng: random.Random) -> bytes:
    return mutate_bytes(data, rng)


def _mutation(kind: str) -> Mutation:
    if kind in ("training", "model"):
        return mutate_tensors
    return {"manifest": _manifest, "metrics": _lines, "bytes": _random_bytes}.get(kind, _json)


def _base(kind: str, driver: str, sandbox: Sandbox, index: int) -> Files:
    """Return sound files that an input begins with."""
    if kind == "comparison" or driver in OF_COMPARISON:
        return sandbox.comparison
    name = list(RUNS)[index % len(RUNS)]
    finished = driver in OF_FINISHED or kind == "report"
    return (sandbox.finished if finished else sandbox.runs)[name]


def _target(kind: str, files: Files, index: int, rng: random.Random) -> str:
    """Return the name of the file that an input changes."""
    if kind in CHECKPOINTED:  # of the newest checkpoint, but for a few
        names = sorted(name for name in files if name.endswith(CHECKPOINTED[kind]))
        return names[-1] if rng.random() < 0.9 else rng.choice(names)
    if kind == "metrics":
        return LINE_FILES[index % 2]
    if kind == "comparison":
        top = sorted(name for name in files if name.endswith(".json") and "/" not in name)
        return top[index % len(top)]
    if kind in ("node", "bytes"):
        folders = {str(parent) for name in files for parent in Path(name).parents} - {"."}
        return rng.choice(sorted(files) + sorted(folders) * (kind == "node"))
    return f"{kind}.json"


NEWEST = "checkpoints/step-00000003"
SIZES = [(name, prefix) for name in RUNS for prefix in ("exp_avg/", "exp_avg_sq/", "carried/")]
LINKS = [(f"{NEWEST}/{file}", "link") for file in ("", "manifest.json", "training.safetensors")]
LINKS += [("checkpoints", "link"), ("checkpoints", "link_up"), ("lock", "dangling")]
LINKS += [("metrics.jsonl", "link"), ("events.jsonl", "link"), ("run.json", "link_inside")]
PLACES = ["run.json", "vocabulary.json", "metrics.jsonl", "events.jsonl", "report.json", NEWEST]
PLACES += [f"{NEWEST}/{file}" for file in CHECKPOINTED.values()]
SPECIAL_FILES = [(place, node) for place in PLACES for node in ("fifo", "device_zero", "socket")]
TEXTS: dict[str, dict[str, str]] = {  # file that a run names -> its settings
    "a very long list of sources": {},
    "a pattern with many ways to match": {"glob": "/".join(["**/*"] * 40)},
    "a folder": {},
    "a sparse file": {},
    "a folder of the kernel": {},
}
NAMED = len(SIZES) + len(LINKS) + len(SPECIAL_FILES) + len(TEXTS)


def _make_named(number: int, sandbox: Sandbox) -> Input:
    """Return an input by which a run once corrupted memory, wrote elsewhere, or hung a command.

    Args:
        number: From -NAMED to -1.
        sandbox: Has the sound files.
    """
    place = number + NAMED
    if place < len(SIZES):
        name, prefix = SIZES[place]
        files, target = _newest_alone(sandbox.runs[name]), f"{NEWEST}/training.safetensors"
        changed = {**files, target: with_other_size(files[target], prefix)}
        return Input(number, "training", "resume", seal(changed), target, is_refused=True)
    if place >= NAMED - len(TEXTS):
        return _make_text(number, list(TEXTS)[place - NAMED], sandbox)
    target, node = (LINKS + SPECIAL_FILES)[place - len(SIZES)]
    files = {**sandbox.runs["lstm"], "lock": b""}
    if place < len(SIZES) + len(LINKS):
        return Input(number, "node", "resume", files, target.rstrip("/"), node)
    files["report.json"] = sandbox.finished["lstm"]["report.json"]
    return Input(number, "node", ("score", "list", "resume")[number % 3], files, target, node)


def _make_text(number: int, kind: str, sandbox: Sandbox) -> Input:
    """Return a run whose text is not in the cache, and which names another in its place."""
    root = sandbox.root / "named"
    deep = root.joinpath(*["d"] * 60)
    deep.mkdir(parents=True, exist_ok=True)
    (deep / "x").write_text("x")
    with open(root / "sparse", "wb") as file:
        file.truncate(2**40)
    names = {
        "a very long list of sources": ["/etc/hostname"] * 200_000,
        "a sparse file": [str(root / "sparse")],
        "a folder of the kernel": ["/sys"],
    }
    files = _newest_alone(sandbox.runs["lstm"])
    record = json.loads(bare(files["run.json"]))
    record["text"]["sources"] = names.get(kind, [str(root)])
    record["text"]["digest"]["sha256"] = "0" * 64
    record["config"] |= TEXTS[kind]
    changed = {**files, "run.json": sealed_like(files["run.json"], json.dumps(record).encode())}
    return Input(number, "run", "text", seal(changed), "run.json", is_refused=True)


def _newest_alone(files: Files) -> Files:
    """Return a run without its other checkpoints, which a damaged newest one would fall back to."""
    return {
        name: data
        for name, data in files.items()
        if name.startswith(NEWEST) or not name.startswith(("checkpoints/", "before-decay/"))
    }


def make_input(number: int, sandbox: Sandbox) -> Input:
    """Return the input of this number; that of a negative one has a fault that was once found."""
    if number < 0:
        return _make_named(number, sandbox)
    rng = random.Random(f"hostile {number}")
    kind = KINDS[number % len(KINDS)]
    # How many inputs of this kind came before.
    slots = [place for place, name in enumerate(KINDS) if name == kind]
    index = number // len(KINDS) * len(slots) + slots.index(number % len(KINDS))
    driver = rng.choice(DRIVERS[kind])
    files = _base(kind, driver, sandbox, index)
    is_alone = kind == "training" and driver == "resume" and index % 2 == 0
    if is_alone:
        files = _newest_alone(files)
    target = _target(kind, files, index, rng)
    if kind == "node":
        return Input(number, kind, driver, files, target, NODES[index % len(NODES)])
    changed = {**files, target: _mutation(kind)(files[target], index, rng)}
    if kind not in ("manifest", "bytes"):
        changed = seal(changed)
        if kind == "report":  # sealing names the right weights; this input may name others
            changed["report.json"] = _json(files["report.json"], index, rng)
    # Bytes of another name, type or shape than the settings imply must never reach a kernel.
    is_refused = is_alone and describe(changed[target]) != describe(files[target])
    return Input(number, kind, driver, changed, target, is_refused=is_refused)
