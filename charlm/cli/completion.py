"""Completions that a shell asks for: names of cells, probes, tasks, kernels, corpora and runs.

Nothing here imports PyTorch: a shell waits for the answer.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import charlm
from charlm.cells.names import CELL_NAMES

MAX_DIRECTORIES, MAX_DEPTH = 2000, 4  # that are searched for runs
Completer = Callable[[str], list[str]]


def complete_cell(incomplete: str) -> list[str]:
    """Return the names of cells that begin like this."""
    return [name for name in CELL_NAMES if name.startswith(incomplete)]


def complete_cells(incomplete: str) -> list[str]:
    """Return lists of cells, separated by commas, whose last name begins like this."""
    return complete_list(incomplete, CELL_NAMES)


def complete_probes(incomplete: str) -> list[str]:
    """Return lists of probes, separated by commas, whose last name begins like this."""
    return complete_list(incomplete, registered_names("probe"))


def complete_task(incomplete: str) -> list[str]:
    """Return the names of tasks that begin like this."""
    return [name for name in registered_names("task") if name.startswith(incomplete)]


def complete_anchor(incomplete: str) -> list[str]:
    """Return the names of anchors that begin like this."""
    from charlm.reproduction.reproduce import anchor_names

    return [name for name in anchor_names() if name.startswith(incomplete)]


def complete_kernel(incomplete: str) -> list[str]:
    """Return the names of kernels that begin like this."""
    names = ["auto", *registered_names("kernel")]
    return [name for name in names if name.startswith(incomplete)]


def complete_run(incomplete: str) -> list[str]:
    """Return the runs whose path begins like this."""
    return sorted(find_runs(incomplete))


def complete_corpus(incomplete: str) -> list[str]:
    """Return the corpora whose name begins like this."""
    from charlm.data.catalog import corpus_names

    return [name for name in corpus_names() if name.startswith(incomplete)]


def complete_text(incomplete: str) -> list[str]:
    """Return the corpora and files that begin like this."""
    return complete_corpus(incomplete) + complete_path(incomplete)


def complete_choice(choices: list[str]) -> Completer:
    """Return a completer of fixed words."""

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete


def complete_list(incomplete: str, names: list[str]) -> list[str]:
    """Return what a list with commas can become if its last name is completed."""
    head, comma, last = incomplete.rpartition(",")
    used = head.split(",")
    return [head + comma + n for n in names if n.startswith(last) and n not in used]


def registered_names(kind: str) -> list[str]:
    """Return the names in the decorators `register_KIND` of a package, without importing it."""
    files = (Path(charlm.__file__).parent / f"{kind}s").rglob("*.py")
    pattern = re.compile(rf'^@register_{kind}\("([^"]+)"', re.M)
    return sorted({name for file in files for name in pattern.findall(file.read_text())})


def find_runs(incomplete: str) -> Iterator[str]:
    """Yield the runs whose path begins like this, among a bounded number of directories."""
    head = os.path.dirname(incomplete)
    for number, (path, folders, names) in enumerate(os.walk(head or ".")):
        shown = os.path.relpath(path) if not head else path
        depth = len(Path(os.path.relpath(path, head or ".")).parts)
        if "run.json" in names and shown.startswith(incomplete):
            yield shown
        if number >= MAX_DIRECTORIES:
            return
        is_deep = "run.json" in names or depth >= MAX_DEPTH
        folders[:] = [] if is_deep else sorted(f for f in folders if not f.startswith("."))


def complete_path(incomplete: str) -> list[str]:
    """Return the files and directories that begin like this, as a shell would."""
    head, start = os.path.split(incomplete)
    try:
        entries = sorted(os.scandir(head or "."), key=lambda entry: entry.name)
    except OSError:
        return []
    return [
        os.path.join(head, entry.name) + ("/" if entry.is_dir() else "")
        for entry in entries
        if entry.name.startswith(start) and (start or not entry.name.startswith("."))
    ]
