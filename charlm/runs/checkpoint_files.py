"""Files of checkpoints: listed, verified by their SHA-256, and removed; without PyTorch."""

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from charlm.results.training import FileDigest, Manifest, TrainingProgress
from charlm.storage import directories, files
from charlm.storage.json_files import decode_json
from charlm.storage.reading import (
    RECORD_BYTES,
    FileError,
    MissingFileError,
    check_plain_directory,
    iter_pieces,
    list_names,
    path_exists,
    read_regular_file,
)

BEFORE_DECAY = "before-decay"  # directory of the state that a longer budget goes on from
REPORT_FILE = "report.json"  # exists once the run is finished
TRAINING_FILE = "training.safetensors"  # removed once a run has finished, unless it keeps all
STEP_NAME = re.compile(r"step-(?=\d{8}\Z|[1-9]\d{8,9}\Z)\d+", re.ASCII)
DAMAGED = "damaged-"  # before the name of a checkpoint that was set aside
CHECKPOINT_FILES = {"model.safetensors", TRAINING_FILE, "progress.json"}
# Files of the run that never change. Every checkpoint holds their hashes, too.
RUN_METADATA_FILES = {"run.json", "vocabulary.json"}


class VerifiedFiles(NamedTuple):
    """Files of a checkpoint whose hashes agree with its manifest."""

    manifest: Manifest
    contents: dict[str, bytes]  # name -> bytes of those that were kept; also of the metadata
    progress: TrainingProgress


def list_checkpoints(run_directory: Path, folder: str = "checkpoints") -> dict[int, Path]:
    """Return the directories of a run's checkpoints by step, oldest first, intact or not.

    Raises:
        DataError: The folder or a checkpoint is a link or no directory. What it refers to may be
            another run's, so nothing in it is read, written or removed.
        StorageError: The folder cannot be read now.
    """
    directory = run_directory / folder
    try:
        check_plain_directory(directory)
        names = list_names(directory)
    except MissingFileError:
        return {}
    found = {int(name[5:]): directory / name for name in names if STEP_NAME.fullmatch(name)}
    for path in found.values():
        with suppress(MissingFileError):  # another process has just removed it
            check_plain_directory(path)
    return dict(sorted(found.items()))


def read_checkpoint_files(
    path: Path,
    run_directory: Path,
    *,
    weights_suffice: bool = False,
    limits: Mapping[str, int] | None = None,
) -> VerifiedFiles:
    """Verify the files of a checkpoint and those of the run's metadata.

    Args:
        path: Directory of the checkpoint.
        run_directory: Directory of its run.
        weights_suffice: Whether the state of the optimizer may be missing.
        limits: Largest size in bytes of files with tensors, by name; None: those files are read in
            pieces, so that any size fits in memory, and their bytes are not returned.

    Raises:
        DataError: A file is missing or damaged.
        StorageError: A file cannot be read now, which says nothing about its content.
    """
    manifest = read_manifest(path)
    contents = {}
    for directory, digests in ((run_directory, manifest.run), (path, manifest.files)):
        for name, expected in digests.items():
            is_kept = limits is not None or name.endswith(".json")
            limit = (limits or {}).get(name, expected.size)
            limit = RECORD_BYTES if name.endswith(".json") else limit
            if expected.size > limit:
                cause = f"it has {expected.size:,} bytes, and its settings imply at most {limit:,}"
                raise damaged(path / name, cause)
            try:
                if is_kept:
                    contents[name] = read_regular_file(directory / name, limit)
                    actual = FileDigest.of(contents[name])
                else:
                    actual = _hash_in_pieces(directory / name, limit)
            except MissingFileError:
                if weights_suffice and name == TRAINING_FILE:
                    continue
                raise
            if actual != expected:
                raise damaged(
                    directory / name,
                    f"its SHA-256 is {actual.sha256[:12]}…, not {expected.sha256[:12]}…",
                )
    progress = decode_json(contents["progress.json"], TrainingProgress, path / "progress.json")
    if progress.step != manifest.step:
        raise damaged(path, "its progress is that of another step")
    return VerifiedFiles(manifest, contents, progress)


def _hash_in_pieces(path: Path, limit: int) -> FileDigest:
    size, digest = 0, hashlib.sha256()
    for piece in iter_pieces(path, limit):
        size += len(piece)
        digest.update(piece)
    return FileDigest(size, digest.hexdigest())


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of a checkpoint, whose own hash is verified.

    Raises:
        DataError: It is missing or damaged.
        StorageError: It cannot be read now.
    """
    manifest_path = path / "manifest.json"
    data = read_regular_file(manifest_path)
    manifest = decode_json(data, Manifest, manifest_path)
    if data != manifest.canonical_bytes():
        raise damaged(manifest_path, "its content does not have the SHA-256 at its end")
    if path.name != checkpoint_name(manifest.step):
        raise damaged(manifest_path, f"it is that of step {manifest.step:,}")
    if set(manifest.files) != CHECKPOINT_FILES or set(manifest.run) != RUN_METADATA_FILES:
        raise damaged(manifest_path, "it does not list the files of a checkpoint")
    return manifest


def damaged(path: Path, cause: str) -> FileError:
    """Return the error of a file of a checkpoint, or of a checkpoint."""
    return FileError(f"{path} is damaged: {cause}", path, cause)


def checkpoint_name(step: int) -> str:
    """Return the name of the directory of a checkpoint."""
    return f"step-{step:08d}"


def set_aside(path: Path) -> Path:
    """Rename a checkpoint that is damaged, so that its step can be saved again.

    A finished run needs none, and removes it.
    """
    target = path.with_name(f"{DAMAGED}{path.name}")
    if path_exists(target):
        directories.remove(target)
    with files.translate_os_errors("rename", path):
        path.rename(target)
    return target


def surplus_files(run_directory: Path, best_step: int, *, keeps_state: bool = False) -> list[Path]:
    """Return what a finished run needs no longer: all but its best weights.

    Args:
        run_directory: Run.
        best_step: Step of its best checkpoint.
        keeps_state: Whether the state before its decay is needed, for a longer budget.

    Raises:
        DataError: A directory of checkpoints is a link.
    """
    checkpoints = list_checkpoints(run_directory)
    surplus = [path for step, path in checkpoints.items() if step != best_step]
    if best_step in checkpoints and path_exists(checkpoints[best_step] / TRAINING_FILE):
        surplus.append(checkpoints[best_step] / TRAINING_FILE)
    with suppress(MissingFileError):
        directory = run_directory / "checkpoints"
        surplus += [directory / name for name in list_names(directory) if is_damaged(name)]
    with suppress(MissingFileError):
        check_plain_directory(run_directory / BEFORE_DECAY)
        if not keeps_state:
            surplus.append(run_directory / BEFORE_DECAY)
    return surplus


def is_damaged(name: str) -> bool:
    """Return whether a name is that of a checkpoint that was set aside."""
    return name.startswith(DAMAGED) and bool(STEP_NAME.fullmatch(name[len(DAMAGED) :]))


def remove_surplus_files(run_directory: Path, best_step: int, *, keeps_state: bool) -> None:
    """Remove what a finished run needs no longer, see `surplus_files`.

    A kill in between leaves too much, never too little. The caller has verified the best weights.
    """
    for path in surplus_files(run_directory, best_step, keeps_state=keeps_state):
        if path.name == TRAINING_FILE:
            path.unlink(missing_ok=True)
        else:
            directories.remove(path)
