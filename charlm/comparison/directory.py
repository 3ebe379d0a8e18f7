"""Comparison directory: its marker file, lock, saved standard input, and the execution of jobs."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from charlm.config import FORMAT_VERSION
from charlm.data.readers import CHUNK_BYTES
from charlm.errors import DataError, OutputExistsError, StorageError
from charlm.execution.device import available_cores, select_device
from charlm.execution.executor import Execution, ExecutorKind, make_executor
from charlm.progress import NoProgress, Progress
from charlm.results.comparison import ComparisonKind, ComparisonMarker
from charlm.storage import files
from charlm.storage.json_files import encode_json, read_json
from charlm.storage.lock import exclusive_lock

MARKER = "comparison.json"
REPORT_FILE = "report.json"
TIMING_FILE = "timing.json"
STDIN_FILE = "stdin.txt"
TIMED_SIZES_FILE = "time_matching.json"
BUDGET_FILE = "budget.json"
PRECREATED_FILES = {
    "lock",
    "logs",
    STDIN_FILE,
    TIMED_SIZES_FILE,
    BUDGET_FILE,
}  # written before the marker


def check_comparison_dir(directory: Path, kind: ComparisonKind) -> None:
    """Raise OutputExistsError if a directory has anything but a comparison of this kind.

    What a comparison writes before it is marked may be there.
    """
    marker = directory / MARKER
    if marker.exists():
        other = read_json(marker, ComparisonMarker).kind
        if other != kind:
            raise OutputExistsError(
                f"cannot write {directory}: it has a comparison of another kind, {other}. "
                "Try another --out"
            )
    elif directory.is_dir() and {path.name for path in directory.iterdir()} - PRECREATED_FILES:
        raise OutputExistsError(
            f"cannot write {directory}: it exists and is no comparison. Try another --out"
        )
    elif directory.exists() and not directory.is_dir():
        raise OutputExistsError(f"cannot write {directory}: it is a file. Try another --out")


def check_no_links(directory: Path) -> None:
    """Check that nothing in a comparison is a link, down to its runs and their files.

    A comparison may come from a stranger. Then a link would let it write anywhere.

    Raises:
        DataError: Something is a link.
        StorageError: A directory cannot be read.
    """
    for parent, folders, names in os.walk(directory, onerror=_raise_unreadable):
        for name in (*folders, *names):
            path = Path(parent, name)
            if path.is_symlink():
                raise DataError(
                    f"cannot use {directory}: {path.relative_to(directory)} is a link. "
                    "Try a copy with real files"
                )


def _raise_unreadable(error: OSError) -> None:
    if isinstance(error, FileNotFoundError):
        return  # a new comparison, or a temporary directory that is gone by now
    raise StorageError(
        f"cannot read {error.filename}: {error.strerror}. Check its permissions"
    ) from error


def initialize_comparison_dir(directory: Path, kind: ComparisonKind) -> None:
    """Mark a directory as a comparison of this kind."""
    marker = ComparisonMarker(format=FORMAT_VERSION, kind=kind)
    files.write_atomic(directory / MARKER, encode_json(marker))


def save_stdin(texts: Sequence[str], directory: Path) -> tuple[str, ...]:
    """Return the texts with "-" replaced by a file that has a copy of standard input.

    Workers, and the same command when it resumes, read that file.
    """
    if "-" not in texts:
        return tuple(texts)
    path = directory / STDIN_FILE
    with files.AtomicFileWriter(path, replace=True) as copy:
        while sys.stdin is not None and (chunk := sys.stdin.buffer.read(CHUNK_BYTES)):
            copy.write(chunk)
        if copy.size or not path.exists():
            copy.commit()
    return tuple(str(path) if text == "-" else text for text in texts)


@contextmanager
def open_comparison(
    out: Path,
    kind: ComparisonKind,
    *,
    executor: ExecutorKind = "local",
    ray_address: str = "",
    device: str = "auto",
    jobs: int = 0,
    progress: Progress = NoProgress(),
) -> Iterator[Execution]:
    """Lock the directory of a comparison and yield the execution of its jobs.

    Args:
        out: Directory of the comparison.
        kind: Kind of comparison.
        executor: "local" or "ray".
        ray_address: HOST:PORT of a Ray cluster; default: the one of this machine.
        device: Device of the jobs.
        jobs: Jobs in parallel. 0: one per core; on a GPU all that fit into its memory if the
            comparison is on a text, else one; in a cluster as many as it has room for.
        progress: Receives the progress of jobs.

    Raises:
        OutputExistsError: The directory has something else.
        DataError: Something in it is a link.
        LockedError: Another process is writing there.
        ClusterError: The cluster does not answer.
    """
    is_local = executor == "local"
    local_device, _ = select_device(device if is_local else "cpu", 1)
    check_comparison_dir(out, kind)
    if not jobs and is_local:
        shares_device = local_device == "cpu" or kind == "text"
        jobs = available_cores() if shares_device else 1
    job_device = local_device if is_local else device
    check_no_links(out)
    with (
        exclusive_lock(out),
        make_executor(executor, ray_address, job_device, jobs, out) as engine,
    ):
        yield Execution(out, engine, progress)
