"""Checkpoints: tensors and training progress, in files whose SHA-256 is verified on loading.

safetensors executes no code when it is read, but it does not notice a flipped bit in a weight.
The manifest therefore holds the SHA-256 of every file, and of itself.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from charlm.config import FORMAT_VERSION
from charlm.errors import DataError, DivergedError
from charlm.results.training import FileDigest, Manifest, TrainingProgress
from charlm.runs.checkpoint_files import read_checkpoint_files
from charlm.storage import files
from charlm.storage.json_files import encode_json

CheckpointName = Literal["best", "last"]
Tensors = dict[str, dict[str, Tensor]]  # file -> name -> tensor


class Checkpoint(msgspec.Struct, frozen=True):
    """A checkpoint in memory."""

    progress: TrainingProgress
    tensors: Tensors
    sha256: str  # of the weights


def save_checkpoint(
    directory: Path,
    progress: TrainingProgress,
    tensors: Tensors,
    run_metadata: Mapping[str, bytes],
) -> Path:
    """Write a checkpoint atomically and return its path.

    Args:
        directory: Directory of all checkpoints of the run.
        progress: Where training stands.
        tensors: Tensors of "model" and "training".
        run_metadata: Contents of the run's files whose hashes the manifest holds.

    Raises:
        DivergedError: A tensor is not finite.
        StorageError: The disk is full or failed.
    """
    for named in tensors.values():
        for name, tensor in named.items():
            if not torch.isfinite(tensor).all():
                raise DivergedError(
                    f"cannot save step {progress.step}: {name} is not finite. The last good "
                    "checkpoint is kept. Try a lower --learning-rate"
                )
    contents = {
        f"{file}.safetensors": safetensors.save(
            {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}
        )
        for file, named in tensors.items()
    }
    contents["progress.json"] = encode_json(progress)
    manifest = Manifest(
        format=FORMAT_VERSION,
        step=progress.step,
        files={name: FileDigest.of(data) for name, data in contents.items()},
        run={name: FileDigest.of(data) for name, data in run_metadata.items()},
    )
    contents["manifest.json"] = manifest.canonical_bytes()
    path = directory / f"step-{progress.step:08d}"
    files.write_directory_atomic(path, contents, replace=True)
    return path


def load_checkpoint(
    path: Path, run_directory: Path, *, weights_suffice: bool = False
) -> Checkpoint:
    """Return the tensors and progress of a checkpoint, all of whose files are intact.

    Args:
        path: Directory of the checkpoint.
        run_directory: Directory of its run.
        weights_suffice: Whether the state of the optimizer may be missing.

    Raises:
        DataError: A file is missing or damaged, or its tensors cannot be read.
    """
    verified = read_checkpoint_files(path, run_directory, weights_suffice=weights_suffice)
    try:
        tensors = {
            file: safetensors.load(verified.contents[f"{file}.safetensors"])
            for file in ("model", "training")
            if f"{file}.safetensors" in verified.contents
        }
    except (SafetensorError, ValueError, KeyError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    return Checkpoint(
        verified.progress, tensors, verified.manifest.files["model.safetensors"].sha256
    )
