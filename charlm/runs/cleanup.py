"""Cleanup of runs, comparisons and the cache: what is surplus is listed, or removed.

Best weights, metrics, reports and results of probes stay. Only directories that charlm marked are
touched, and none that a process has locked. Symbolic links are not followed.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from charlm.config import FORMAT_VERSION
from charlm.errors import DataError, LockedError
from charlm.results.cleanup import CleanupReport, Skipped, Surplus, SurplusKind
from charlm.results.comparison import ComparisonMarker
from charlm.runs.checkpoint_files import (
    BEFORE_DECAY,
    REPORT_FILE,
    TRAINING_FILE,
    list_checkpoints,
    read_checkpoint_files,
    surplus_files,
)
from charlm.runs.listing import check_directory, read_format_header, read_report
from charlm.storage import directories, files
from charlm.storage.json_files import read_json
from charlm.storage.lock import LOCK_FILE, exclusive_lock, is_lock_file, is_locked, unused
from charlm.storage.reading import path_exists
from charlm.storage.usage import measure_usage

RUN_MARKER, COMPARISON_MARKER, PROBES_MARKER = "run.json", "comparison.json", "probes.json"
MARKERS = (RUN_MARKER, COMPARISON_MARKER, PROBES_MARKER, "curriculum.json")
KEY = "[0-9a-f]{32}"
ENCODED_TEXT, TEXT_METADATA = re.compile(rf"{KEY}\.ids"), re.compile(rf"{KEY}\.json")
KERNEL = re.compile(rf"{KEY}-{KEY}\.so")

Found = Surplus | Skipped


def clean(
    directories: Sequence[str | Path] = (), *, cache: bool = False, remove: bool = False
) -> CleanupReport:
    """List what is surplus below directories and in the cache, or remove it.

    Args:
        directories: Directories with runs or comparisons in them.
        cache: Whether encoded texts and compiled kernels are surplus, too. Downloads stay.
        remove: Whether to remove it.

    Raises:
        InputNotFoundError: A directory does not exist.
        StorageError: Something cannot be removed.
    """
    found: list[Found] = []
    for directory in map(Path, directories):
        check_directory(directory)
    for directory in map(Path, directories):
        parents = directory.resolve().parents
        if any(is_locked(parent) for parent in parents if _is_marked(parent)):
            found.append(Skipped(path=str(directory), reason="in_use"))
        else:
            listed = _clean_directory(directory, remove=False)
            has_surplus = any(isinstance(item, Surplus) for item in listed)
            found += _clean_directory(directory, remove=True) if remove and has_surplus else listed
    if cache:
        found += _clean_cache(files.cache_directory().resolve(), remove)
    once = {item.path: item for item in found}.values()  # directories may contain each other
    surplus = tuple(item for item in once if isinstance(item, Surplus))
    return CleanupReport(
        format=FORMAT_VERSION,
        removed=remove,
        surplus=surplus,
        skipped=tuple(item for item in once if isinstance(item, Skipped)),
        size=sum(item.size for item in surplus),
    )


def _clean_directory(directory: Path, remove: bool) -> list[Found]:
    """List what is surplus in a directory and below it, or remove it under its lock."""
    if not _is_marked(directory):
        return _clean_below(directory, remove)
    if is_locked(directory):
        return [Skipped(path=str(directory), reason="in_use")]
    own = list(_surplus_of(directory))
    if not remove:
        return [*own, *_clean_below(directory, remove, own)]
    try:
        with exclusive_lock(directory):
            for item in own:
                if isinstance(item, Surplus) and item.kind != "lock":
                    _remove(Path(item.path))
            found = [*own, *_clean_below(directory, remove, own)]
            # Whoever waits for the lock notices that its file is gone, and makes a new one.
            (directory / LOCK_FILE).unlink(missing_ok=True)
            return found
    except LockedError:
        return [Skipped(path=str(directory), reason="in_use")]


def _clean_below(directory: Path, remove: bool, own: Sequence[Found] = ()) -> list[Found]:
    """Clean the marked directories below one, without those that are surplus themselves."""
    surplus = {item.path for item in own}
    found: list[Found] = []
    for child in _marked_below(directory):
        if str(child) not in surplus:
            found += _clean_directory(child, remove)
    return found


def _surplus_of(directory: Path) -> Iterator[Found]:
    """Yield what is surplus in a marked directory, without the marked directories below it."""
    if (directory / RUN_MARKER).exists():
        yield from _surplus_of_run(directory)
    if (directory / COMPARISON_MARKER).exists():
        yield from _orphaned_probes(directory)
    yield from _temporaries(directory)
    if is_lock_file(directory / LOCK_FILE):
        yield _surplus("lock", directory / LOCK_FILE)


def _surplus_of_run(run: Path) -> Iterator[Found]:
    """Yield what `--keep weights` would not have kept of a finished run."""
    try:
        if not path_exists(run / REPORT_FILE):
            return
        if read_format_header(run).format != FORMAT_VERSION:
            yield Skipped(path=str(run), reason="incompatible")
            return
        if any(map(_has_link, (run / "checkpoints", run / BEFORE_DECAY))):
            yield Skipped(path=str(run), reason="link")
            return
        report, checkpoints = read_report(run), list_checkpoints(run)
        if report is None or report.best_step not in checkpoints:
            yield Skipped(path=str(run), reason="damaged")
            return
        paths = surplus_files(run, report.best_step)
        if paths:
            best = checkpoints[report.best_step]
            read_checkpoint_files(best, run, weights_suffice=True)  # they are those of the report
            for path in paths:
                is_state = path.name in (TRAINING_FILE, BEFORE_DECAY)
                yield _surplus("training_state" if is_state else "checkpoint", path)
    except DataError:
        yield Skipped(path=str(run), reason="damaged")


def _has_link(directory: Path) -> bool:
    """Return whether a directory is a link, or has one in it."""
    return directory.is_symlink() or any(path.is_symlink() for path in directory.rglob("*"))


def _orphaned_probes(comparison: Path) -> Iterator[Surplus]:
    """Yield the probe results of a comparison whose runs are gone."""
    marker = comparison / COMPARISON_MARKER
    try:
        kind = read_json(marker, ComparisonMarker).kind
    except DataError:
        return
    if kind == "text":  # the runs of other comparisons are elsewhere
        for path in _folders(comparison / "probes"):
            if (path / PROBES_MARKER).exists() and not (comparison / "runs" / path.name).exists():
                yield _surplus("orphaned_probes", path)


def _temporaries(directory: Path) -> Iterator[Surplus]:
    """Yield the unfinished files of killed writers in a directory that nobody writes."""
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = Path(entry.path)
            if entry.is_symlink():
                continue
            if files.TEMP_NAME.fullmatch(entry.name):
                yield _surplus("temporary", path)
            elif entry.is_dir() and not _is_marked(path):
                yield from _temporaries(path)


def _clean_cache(cache: Path, remove: bool) -> list[Found]:
    """List encoded texts and compiled kernels that no process uses, or remove them."""
    found: list[Found] = []
    for directory in (cache, cache / "kernels"):
        if directory.is_symlink() or not directory.is_dir():
            continue
        with unused(directory) as is_unused:  # else a process is reading or writing there
            if is_unused:
                found += _clean_cached_files(directory, remove)
            else:
                found.append(Skipped(path=str(directory), reason="in_use"))
    return found


def _clean_cached_files(directory: Path, remove: bool) -> Iterator[Found]:
    patterns: tuple[tuple[re.Pattern[str], SurplusKind], ...] = (
        (ENCODED_TEXT, "cached_text"),
        (TEXT_METADATA, "cached_text"),
        (KERNEL, "cached_kernel"),
        (files.TEMP_NAME, "temporary"),
    )
    in_use = set()  # keys of texts
    for pattern, kind in patterns:
        for path in sorted(directory.iterdir()):
            if not pattern.fullmatch(path.name) or path.is_symlink() or path.stem in in_use:
                continue
            if pattern is ENCODED_TEXT:
                with unused(path) as is_unused:
                    if not is_unused:
                        in_use.add(path.stem)
                        yield Skipped(path=str(path), reason="in_use")
                        continue
            yield _surplus(kind, path)
            if remove:
                _remove(path)


def _surplus(kind: SurplusKind, path: Path) -> Surplus:
    size = measure_usage(path).size if path.is_dir() else path.lstat().st_size
    return Surplus(kind=kind, path=str(path), size=size)


def _remove(path: Path) -> None:
    with files.translate_os_errors("remove", path):
        if path.is_dir():
            directories.remove(path)
        else:
            path.unlink(missing_ok=True)


def _is_marked(directory: Path) -> bool:
    """Return whether charlm made a directory: a run, comparison, curriculum, or probe results."""
    if any((directory / name).exists() for name in MARKERS):
        return True
    return is_lock_file(directory / LOCK_FILE)


def _marked_below(directory: Path) -> Iterator[Path]:
    """Yield the marked directories below one, but none below a marked one."""
    for path in _folders(directory):
        if _is_marked(path):
            yield path
        elif not files.TEMP_NAME.fullmatch(path.name):
            yield from _marked_below(path)


def _folders(directory: Path) -> list[Path]:
    """Return the directories in a directory, sorted, without links; [] if it is missing."""
    if directory.is_symlink() or not directory.is_dir():
        return []
    with os.scandir(directory) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
