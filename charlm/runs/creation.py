"""Creation of run directories: with new weights, or with a state to start from.

Nothing is removed but what a creation that was killed has left behind.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from charlm.data.vocabulary import Vocabulary
from charlm.errors import OutputExistsError
from charlm.results.run import RunRecord
from charlm.results.training import TrainingProgress
from charlm.runs.checkpoint import Tensors, save_checkpoint
from charlm.runs.checkpoint_files import CHECKPOINT_FILES, STEP_NAME, list_checkpoints
from charlm.runs.run import LOGS, Run, is_run
from charlm.storage import directories, files
from charlm.storage.json_files import encode_json
from charlm.storage.lock import LOCK_FILE, is_lock_file, is_unwritten_lock


class RunStart(NamedTuple):
    """State that a new run starts from, and its logs up to there by name."""

    progress: TrainingProgress
    tensors: Tensors
    logs: Mapping[str, bytes] = {}


def create_run(
    path: Path, record: RunRecord, vocabulary: Vocabulary, start: RunStart | None = None
) -> Run:
    """Create a run in a directory that the caller has locked.

    Args:
        path: Directory.
        record: Content of `run.json`.
        vocabulary: Content of `vocabulary.json`.
        start: What it starts from; None: new weights at its first step.

    Raises:
        OutputExistsError: The directory has anything but what a killed creation left behind.
    """
    check_not_existing(path)
    metadata = {"vocabulary.json": encode_json(vocabulary), "run.json": encode_json(record)}
    for leftover in list_checkpoints(path).values():
        directories.remove(leftover)
    for name in LOGS:
        (path / name).unlink(missing_ok=True)
    files.make_directory(path / "checkpoints")
    if start:
        for name, data in start.logs.items():
            files.write_atomic(path / name, data)
        save_checkpoint(path / "checkpoints", start.progress, start.tensors, metadata)
    # run.json comes last: it makes the directory a run.
    for name, data in metadata.items():
        files.write_atomic(path / name, data)
    return Run(path)


def check_not_existing(path: Path) -> None:
    """Check that a new run may be written here.

    A directory that a killed creation left behind, before it was a run, may be used again.

    Raises:
        OutputExistsError: It is a file, or a directory with anything else in it.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise OutputExistsError(f"cannot write {path}: it is a file. Try another path")
    if not all(_is_leftover(entry) for entry in path.iterdir()):
        hint = f"--resume {path} to continue the run, or " if is_run(path) else ""
        raise OutputExistsError(f"cannot write {path}: it exists. Try {hint}another path")


def _is_leftover(entry: Path) -> bool:
    """Return whether an entry of a directory is what a killed creation leaves there."""
    if files.TEMP_NAME.fullmatch(entry.name):
        return True
    lock = entry.with_name(LOCK_FILE)
    if entry == lock:
        return is_lock_file(entry) or is_unwritten_lock(entry)
    # A creation locks the directory first, and a kill leaves the lock file.
    if entry.is_symlink() or not is_lock_file(lock):
        return False
    if entry.name == "checkpoints" and entry.is_dir():
        saved = [path for path in entry.iterdir() if not files.TEMP_NAME.fullmatch(path.name)]
        # It writes one checkpoint at most. A directory with more was a run.
        return len(saved) <= 1 and all(map(_is_checkpoint, saved))
    return entry.name in {"vocabulary.json", *LOGS} and entry.is_file()


def _is_checkpoint(path: Path) -> bool:
    """Return whether a path is a directory with the files of a checkpoint alone."""
    if path.is_symlink() or not path.is_dir() or not STEP_NAME.fullmatch(path.name):
        return False
    return {entry.name for entry in path.iterdir()} == {*CHECKPOINT_FILES, "manifest.json"}
