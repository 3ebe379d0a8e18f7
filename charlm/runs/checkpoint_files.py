"""Files of checkpoints: listed, verified by their SHA-256, and removed; without PyTorch."""

from pathlib import Path
from typing import NamedTuple

from charlm.errors import DataError
from charlm.results.training import FileDigest, Manifest, TrainingProgress
from charlm.storage import files
from charlm.storage.json_files import decode_json
from charlm.storage.reading import RECORD_BYTES, read_regular_file

BEFORE_DECAY = "before-decay"  # directory of the state that a longer budget goes on from
TRAINING_FILE = "training.safetensors"  # removed once a run has finished, unless it keeps all
CHECKPOINT_FILES = {"model.safetensors", TRAINING_FILE, "progress.json"}
# Files of the run that never change. Every checkpoint holds their hashes, too.
RUN_METADATA_FILES = {"run.json", "vocabulary.json"}


class VerifiedFiles(NamedTuple):
    """Files of a checkpoint whose hashes agree with its manifest."""

    manifest: Manifest
    contents: dict[str, bytes]  # name -> bytes; also of the run's metadata
    progress: TrainingProgress


def list_checkpoints(run_directory: Path, folder: str = "checkpoints") -> dict[int, Path]:
    """Return the directories of a run's checkpoints by step, oldest first, intact or not."""
    paths = (run_directory / folder).glob("step-*")
    return dict(sorted((int(p.name[5:]), p) for p in paths if p.name[5:].isdecimal()))


def read_checkpoint_files(
    path: Path, run_directory: Path, *, weights_suffice: bool = False
) -> VerifiedFiles:
    """Read the bytes of a checkpoint, and verify them and those of the run's metadata.

    Args:
        path: Directory of the checkpoint.
        run_directory: Directory of its run.
        weights_suffice: Whether the state of the optimizer may be missing.

    Raises:
        DataError: A file is missing or damaged.
    """
    manifest_path = path / "manifest.json"
    data = read_regular_file(manifest_path)
    manifest = decode_json(data, Manifest, manifest_path)
    if data != manifest.canonical_bytes() or path.name != f"step-{manifest.step:08d}":
        raise DataError(f"{manifest_path} is damaged")
    if set(manifest.files) != CHECKPOINT_FILES or set(manifest.run) != RUN_METADATA_FILES:
        raise DataError(f"{manifest_path} does not list the files of a checkpoint")
    contents = {}
    kept = dict(manifest.files)
    if weights_suffice and not (path / TRAINING_FILE).exists():
        del kept[TRAINING_FILE]
    for directory, digests in ((run_directory, manifest.run), (path, kept)):
        for name, expected in digests.items():
            contents[name] = read_regular_file(directory / name, max(expected.size, RECORD_BYTES))
            actual = FileDigest.of(contents[name])
            if actual != expected:
                raise DataError(
                    f"{directory / name} is damaged: its SHA-256 is {actual.sha256[:12]}…, "
                    f"not {expected.sha256[:12]}…"
                )
    progress = decode_json(contents["progress.json"], TrainingProgress, path / "progress.json")
    return VerifiedFiles(manifest, contents, progress)


def surplus_files(run_directory: Path, best_step: int, *, keeps_state: bool = False) -> list[Path]:
    """Return what a finished run needs no longer: all but its best weights.

    Args:
        run_directory: Run.
        best_step: Step of its best checkpoint.
        keeps_state: Whether the state before its decay is needed, for a longer budget.
    """
    checkpoints = list_checkpoints(run_directory)
    surplus = [path for step, path in checkpoints.items() if step != best_step]
    if best_step in checkpoints and (checkpoints[best_step] / TRAINING_FILE).exists():
        surplus.append(checkpoints[best_step] / TRAINING_FILE)
    if not keeps_state and (run_directory / BEFORE_DECAY).exists():
        surplus.append(run_directory / BEFORE_DECAY)
    return surplus


def remove_surplus_files(run_directory: Path, best_step: int, *, keeps_state: bool) -> None:
    """Remove what a finished run needs no longer, see `surplus_files`.

    A kill in between leaves too much, never too little. The caller has verified the best weights.
    """
    for path in surplus_files(run_directory, best_step, keeps_state=keeps_state):
        if path.name == TRAINING_FILE:
            path.unlink(missing_ok=True)
        else:
            files.remove(path)
