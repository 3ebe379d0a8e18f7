"""Checkpoints: tensors and training progress, in files whose SHA-256 is verified on loading.

safetensors executes no code when it is read, but it does not notice a flipped bit in a weight.
The manifest therefore holds the SHA-256 of every file, and of itself.
"""

import gc
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from charlm.config import FORMAT_VERSION
from charlm.errors import DivergedError
from charlm.execution.device import available_memory
from charlm.models.cost import check_memory
from charlm.models.tensor_layout import SECOND_MOMENT, STEP, TensorLayout, moment_name
from charlm.results.training import FileDigest, Manifest, TrainingProgress
from charlm.runs.checkpoint_files import (
    TRAINING_FILE,
    checkpoint_name,
    damaged,
    read_checkpoint_files,
    read_manifest,
)
from charlm.storage import directories
from charlm.storage.json_files import encode_json
from charlm.storage.tensor_header import file_limit, read_header

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
    # safetensors leaves cycles of ctypes objects. In the oldest generation they would pile up: it
    # is collected only after it has grown by a quarter.
    gc.collect(1)
    contents["progress.json"] = encode_json(progress)
    manifest = Manifest(
        format=FORMAT_VERSION,
        step=progress.step,
        files={name: FileDigest.of(data) for name, data in contents.items()},
        run={name: FileDigest.of(data) for name, data in run_metadata.items()},
    )
    contents["manifest.json"] = manifest.canonical_bytes()
    path = directory / checkpoint_name(progress.step)
    directories.write_directory_atomic(path, contents, replace=True)
    return path


def load_checkpoint(
    path: Path,
    run_directory: Path,
    *,
    weights_suffice: bool = False,
    layout: TensorLayout | None = None,
) -> Checkpoint:
    """Return the tensors and progress of a checkpoint, all of whose files are intact.

    Args:
        path: Directory of the checkpoint.
        run_directory: Directory of its run.
        weights_suffice: Whether the state of the optimizer may be missing.
        layout: Tensors that it must have; None if they cannot be told, since the file of a custom
            cell was not executed. Then whoever uses them checks them.

    Raises:
        DataError: A file is missing or damaged, or its tensors are not exactly those of the run.
        InsufficientMemoryError: Its layout cannot be told, and it does not fit in memory.
        StorageError: A file cannot be read now, which says nothing about its content.
    """
    if layout is None:
        limits = _check_size(path)
        # What does not match is not loaded.
        read_checkpoint_files(path, run_directory, weights_suffice=weights_suffice)
    else:
        limits = file_limits(layout)
    verified = read_checkpoint_files(
        path, run_directory, weights_suffice=weights_suffice, limits=limits
    )
    contents = {
        file: verified.contents[f"{file}.safetensors"]
        for file in ("model", "training")
        if f"{file}.safetensors" in verified.contents
    }
    specs = {
        file: read_header(data, path / f"{file}.safetensors") for file, data in contents.items()
    }
    if layout:
        layout.check_weights(specs["model"])
        if "training" in specs:
            layout.check_training_state(specs["training"], verified.progress.step)
    try:
        tensors = {file: safetensors.load(data) for file, data in contents.items()}
    except (SafetensorError, ValueError, KeyError) as error:
        raise damaged(path, str(error)) from error
    _check_numbers(tensors, verified.progress.step, path)
    return Checkpoint(
        verified.progress, tensors, verified.manifest.files["model.safetensors"].sha256
    )


def file_limits(layout: TensorLayout) -> dict[str, int]:
    """Return the largest sizes in bytes of the files with tensors."""
    return {
        "model.safetensors": file_limit(layout.model),
        TRAINING_FILE: file_limit({**layout.carried, **layout.moments}),
    }


def _check_size(path: Path) -> dict[str, int]:
    """Return the sizes in bytes of the files of a checkpoint, which fit in memory.

    Raises:
        InsufficientMemoryError: They do not.
    """
    sizes = {name: digest.size for name, digest in read_manifest(path).files.items()}
    present = [name for name in sizes if (path / name).is_file()]
    size = sum(min(sizes[name], (path / name).stat().st_size) for name in present)
    check_memory(available_memory("cpu"), 2 * size, "load")  # bytes of the files, and tensors
    return sizes


def _check_numbers(tensors: Tensors, step: int, path: Path) -> None:
    """Check that training can go on from these numbers.

    Raises:
        DataError: A number is not finite, or no such moment is possible.
    """
    for named in tensors.values():
        for name, tensor in named.items():
            if not torch.isfinite(tensor).all():
                raise damaged(path, f"{name} is not finite")
    for name, tensor in tensors.get("training", {}).items():
        if name.startswith(moment_name(SECOND_MOMENT, "")) and (tensor < 0).any():
            raise damaged(path, f"{name} is negative")
        if name.startswith(moment_name(STEP, "")) and not ((tensor > 0) & (tensor <= step)).all():
            raise damaged(path, f"{name} is not a step of the run")
