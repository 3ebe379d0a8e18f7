"""Files of checkpoints: listed, verified by their SHA-256, and removed; without PyTorch."""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from charlm.errors import DataError
from charlm.results.training import FileDigest, Manifest, TrainingProgress
from charlm.storage import files
from charlm.storage.json_files import decode_json
from charlm.storage.reading import (
    RECORD_BYTES,
    MissingFileError,
    check_plain_directory,
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
    contents: dict[str, bytes]  # name -> bytes; also of the run's metadata
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
    """Read the bytes of a checkpoint, and verify them and those of the run's metadata.

    Args:
        path: Directory of the checkpoint.
        run_directory: Directory of its run.
        weights_suffice: Whether the state of the optimizer may be missing.
        limits: Largest size in bytes of files with tensors, by name; None: any.

    Raises:
        DataError: A file is missing or damaged.
        StorageError: A file cannot be read now, which says nothing about its content.
    """
    manifest = read_manifest(path)
    contents = {}
    for directory, digests in ((run_directory, manifest.run), (path, manifest.files)):
        for name, expected in digests.items():
            limit = (limits or {}).get(name, expected.size)
            limit = RECORD_BYTES if name.endswith(".json") else limit
            if expected.size > limit:
                raise DataError(
                    f"{path} is damaged: {name} has {expected.size:,} bytes, and its settings "
                    f"imply at most {limit:,}"
                )
            try:
                contents[name] = read_regular_file(directory / name, limit)
            except MissingFileError:
                if weights_suffice and name == TRAINING_FILE:
                    continue
                raise
            actual = FileDigest.of(contents[name])
            if actual != expected:
                raise DataError(
                    f"{directory / name} is damaged: its SHA-256 is {actual.sha256[:12]}…, "
                    f"not {expected.sha256[:12]}…"
                )
    progress = decode_json(contents["progress.json"], TrainingProgress, path / "progress.json")
    if progress.step != manifest.step:
        raise DataError(f"{path} is damaged: its progress is that of another step")
    return VerifiedFiles(manifest, contents, progress)


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of a checkpoint, whose own hash is verified.

    Raises:
        DataError: It is missing or damaged.
        StorageError: It cannot be read now.
    """
    manifest_path = path / "manifest.json"
    data = read_regular_file(manifest_path)
    manifest = decode_json(data, Manifest, manifest_path)
    if data != manifest.canonical_bytes() or path.name != checkpoint_name(manifest.step):
        raise DataError(f"{manifest_path} is damaged")
    if set(manifest.files) != CHECKPOINT_FILES or set(manifest.run) != RUN_METADATA_FILES:
        raise DataError(f"{manifest_path} does not list the files of a checkpoint")
    return manifest


def checkpoint_name(step: int) -> str:
    """Return the name of the directory of a checkpoint."""
    return f"step-{step:08d}"


def set_aside(path: Path) -> Path:
    """Rename a checkpoint that is damaged, so that its step can be saved again.

    A finished run needs none, and removes it.
    """
    target = path.with_name(f"{DAMAGED}{path.name}")
    if path_exists(target):
        files.remove(target)
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
            files.remove(path)
