"""States of a file system after a power cut, made from a log of the operations before it.

Model: what an fsync of a file has returned for is on the disk. Of bytes written since, each block
of 4 KiB may be there, as before, or zero where nothing was before, and the length may be any in
between. A new, moved or
removed name is on the disk once its directory was synced; before, each may be there or not,
whatever the order. Truncation is data of its file.
"""

import os
import random
from collections.abc import Iterable
from typing import NamedTuple

from faults.operations import Hook, Operation, Perform

BLOCK = 4096


class Step(NamedTuple):
    """One recorded operation; or a mark, which tells what the process has promised by then."""

    name: str
    path: str
    target: str = ""
    data: bytes = b""
    length: int = 0


def record_operations(steps: list[Step]) -> Hook:
    """Return a hook that records each operation that succeeds."""
    truncating = os.O_TRUNC

    def hook(operation: Operation, perform: Perform) -> object:
        existed = os.path.lexists(operation.path)
        result = perform()
        name, data = operation.name, operation.data
        if name == "open":
            if not existed:
                steps.append(Step("create", operation.path))
            elif operation.length & truncating:
                steps.append(Step("ftruncate", operation.path))
        elif name == "write":
            appended = os.lseek(operation.descriptor, 0, os.SEEK_CUR) - int(str(result))
            steps.append(Step("write", operation.path, "", data[: int(str(result))], appended))
        elif name in ("ftruncate", "fsync", "fdatasync", "mkdir", "rmdir"):
            steps.append(Step(name, operation.path, length=operation.length))
        elif name in ("rename", "replace", "link"):
            name = "link" if name == "link" else "rename"
            steps.append(Step(name, operation.path, operation.target))
        elif name in ("unlink", "remove"):
            steps.append(Step("unlink", operation.path))
        return result

    return hook


class Node:
    """File or directory: what is on the disk for sure, and what may be."""

    def __init__(self, is_directory: bool) -> None:
        self.is_directory = is_directory
        self.durable: bytes = b""  # content at the last fsync
        self.content = b""  # content now
        self.versions: list[bytes] = []  # contents since the last fsync
        self.entries: dict[str, Node] = {}  # now
        self.durable_entries: dict[str, Node] = {}
        self.changes: list[dict[str, Node | None]] = []  # since the last fsync

    def write(self, content: bytes) -> None:
        """Change the content, not yet durably."""
        self.content = content
        self.versions.append(content)

    def change(self, entries: dict[str, "Node | None"]) -> None:
        """Change names in a directory, not yet durably."""
        self.changes.append(entries)
        _apply(self.entries, entries)

    def sync(self) -> None:
        """Make all of it durable."""
        self.durable, self.versions = self.content, []
        self.durable_entries, self.changes = dict(self.entries), []


def _apply(entries: dict[str, Node], change: dict[str, Node | None]) -> None:
    for name, node in change.items():
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node


class Disk:
    """A file system to which recorded operations are applied, and which can lose power."""

    def __init__(self, root: str) -> None:
        """Create an empty one with a directory, which is durable."""
        self.root = root
        self.top = Node(is_directory=True)

    def _find(self, path: str) -> tuple[Node, str]:
        """Return the directory of a path and the name in it."""
        *folders, name = os.path.relpath(path, self.root).split(os.sep)
        node = self.top
        for folder in folders:
            node = node.entries[folder]
        return node, name

    def find(self, path: str) -> Node:
        """Return the file or directory of a path."""
        if os.path.normpath(path) == os.path.normpath(self.root):
            return self.top
        folder, name = self._find(path)
        return folder.entries[name]

    def apply(self, step: Step) -> None:
        """Apply an operation."""
        if step.name in ("fsync", "fdatasync"):
            self.find(step.path).sync()
        elif step.name in ("create", "mkdir"):
            folder, name = self._find(step.path)
            folder.change({name: Node(step.name == "mkdir")})
        elif step.name in ("unlink", "rmdir"):
            folder, name = self._find(step.path)
            folder.change({name: None})
        elif step.name == "link":
            folder, name = self._find(step.target)
            folder.change({name: self.find(step.path)})
        elif step.name == "rename":
            node = self.find(step.path)
            (old_folder, old), (new_folder, new) = self._find(step.path), self._find(step.target)
            if old_folder is new_folder:
                old_folder.change({old: None, new: node})
            else:
                new_folder.change({new: node})
                old_folder.change({old: None})
        elif step.name == "write":
            node = self.find(step.path)
            content = node.content.ljust(step.length, b"\0")
            end = step.length + len(step.data)
            node.write(content[: step.length] + step.data + content[end:])
        elif step.name == "ftruncate":
            node = self.find(step.path)
            node.write(node.content[: step.length].ljust(step.length, b"\0"))

    def cut_power(self, rng: random.Random) -> dict[str, bytes | None]:
        """Return a state that a power cut now may leave: path -> content; None: a directory."""
        state: dict[str, bytes | None] = {}
        # Often all or nothing, since such extremes break most.
        chance = rng.choice((0.0, 1.0, rng.random()))
        _lose(self.top, "", state, rng, chance)
        return state


def _lose(
    node: Node, path: str, state: dict[str, bytes | None], rng: random.Random, chance: float
) -> None:
    if not node.is_directory:
        state[path] = _torn(node, rng, chance)
        return
    if path:
        state[path] = None
    entries = dict(node.durable_entries)
    in_order = rng.random() < 0.3  # as journals do: what is lost is lost from some moment on
    kept = rng.randint(0, len(node.changes))
    for index, change in enumerate(node.changes):
        if index < kept if in_order else rng.random() < chance:
            _apply(entries, change)
    for name, child in entries.items():
        _lose(child, f"{path}/{name}" if path else name, state, rng, chance)


def _torn(node: Node, rng: random.Random, chance: float) -> bytes:
    """Return a content that a file may have: each block of any version since its last fsync."""
    if not node.versions:
        return node.durable
    versions = [node.durable, *node.versions]
    if rng.random() < chance:
        return versions[-1]
    kind = rng.random()
    length = len(rng.choice(versions))
    if kind < 0.2:
        return versions[0]
    if kind < 0.4:  # only the length has reached the disk
        return versions[0][:length].ljust(length, b"\0")
    if kind < 0.6 and len(versions[-1]) > len(versions[0]):  # a part of the new bytes
        return versions[-1][: rng.randint(len(versions[0]), len(versions[-1]))]
    blocks: Iterable[bytes] = (
        rng.choice((*versions, versions[0]))[start : start + BLOCK].ljust(BLOCK, b"\0")
        for start in range(0, length, BLOCK)
    )
    return b"".join(blocks)[:length]
