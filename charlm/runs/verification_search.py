"""Search for the runs that `charlm verify` checks, also for those that have lost their run.json."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from charlm.errors import DataError, InputNotFoundError
from charlm.results.verification import ResultsKind
from charlm.runs.checkpoint_files import STEP_NAME
from charlm.runs.listing import log_unreadable, natural_order
from charlm.runs.results_verification import MARKERS
from charlm.storage.lock import is_locked
from charlm.storage.reading import check_plain_directory, list_names

ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".xz", ".bz2", ".zst", ".7z")


class FoundRuns(NamedTuple):
    """Directories at or below those that were searched."""

    runs: list[Path]
    results: list[tuple[Path, ResultsKind]]
    links: list[Path]  # links to directories, which are not followed


def search_runs(directories: Sequence[Path]) -> FoundRuns:
    """Return all runs and results at or below directories, and the links there.

    Results within other results, such as the probes of a comparison, are part of them.

    Raises:
        InputNotFoundError: A directory does not exist, or there is neither a run nor results.
    """
    found: dict[str, Path] = {}
    results: dict[str, tuple[Path, ResultsKind]] = {}
    links: set[Path] = set()
    for directory in directories:
        _check_directory(directory)
        for name, folders, names in os.walk(directory, onerror=log_unreadable):
            path = Path(name)
            if "run.json" in names or _has_lost_record(path, folders):
                folders.clear()  # a run has no runs in it
                found.setdefault(os.path.realpath(path), path)
            elif kinds := [kind for marker, kind in MARKERS.items() if marker in names]:
                results.setdefault(os.path.realpath(path), (path, kinds[0]))
            links |= {path / folder for folder in folders if (path / folder).is_symlink()}
    if not (found or results):
        shown = ", ".join(map(str, directories))
        problem = "there is no run, comparison, curriculum or probe in it"
        if not any(next(directory.iterdir(), None) for directory in directories):
            problem = "it is empty"
        elif links:
            problem += f", and the link {min(links)} is not followed"
        raise InputNotFoundError(f"cannot verify {shown}: {problem}. Try charlm runs for a list")
    return FoundRuns(
        sorted(found.values(), key=natural_order),
        sorted(
            (each for path, each in results.items() if not _is_within(path, results)),
            key=lambda each: natural_order(each[0]),
        ),
        sorted(links, key=natural_order),
    )


def _is_within(path: str, others: Iterable[str]) -> bool:
    """Return whether a path is below one of the others."""
    return not {*map(str, Path(path).parents)}.isdisjoint(others)


def _has_lost_record(path: Path, folders: Sequence[str]) -> bool:
    """Return whether a directory has checkpoints, and is not a run that is being created."""
    if "checkpoints" not in folders:
        return False
    try:
        check_plain_directory(path / "checkpoints")
        names = list_names(path / "checkpoints")
    except DataError:
        return False
    return any(map(STEP_NAME.fullmatch, names)) and not is_locked(path)


def _check_directory(directory: Path) -> None:
    if directory.is_dir():
        return
    problem = "there is no such directory. Try charlm runs for a list"
    if directory.suffix.lower() in ARCHIVES and directory.exists():
        problem = "it is an archive. Unpack it, and verify the directory"
    elif directory.exists():
        problem = "it is a file. Try the directory of a run"
    raise InputNotFoundError(f"cannot verify {directory}: {problem}")
