"""A checkpoint: tensors and where they stand, in files that each prove to be as they were written.

safetensors runs no code when it is read, but notices no flipped bit in a weight: so every byte is
covered by a SHA-256, the manifest's own included.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from charlm.config import FORMAT_VERSION
from charlm.errors import DataError, DivergedError
from charlm.results.training import FileDigest, TrainingProgress
from charlm.storage import files as durable
from charlm.storage.json_files import decode_json, encode_json, read_bytes

FILES = {"model.safetensors", "training.safetensors", "progress.json"}
RUN_METADATA_FILES = {
    "run.json",
    "vocabulary.json",
}  # of the run: never changes, each checkpoint vouches for it
Tensors = dict[str, dict[str, Tensor]]  # file -> name -> tensor


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The hash of every file of a checkpoint, of the run's settings and alphabet, and of itself."""

    format: int
    step: int
    files: dict[str, FileDigest]
    run: dict[str, FileDigest]
    sha256: str = ""

    def canonical_bytes(self) -> bytes:
        """Its only spelling: any other bytes are damage."""
        bare = msgspec.json.encode(msgspec.structs.replace(self, sha256=""))
        return msgspec.json.encode(msgspec.structs.replace(self, sha256=_sha256(bare)))


class Checkpoint(msgspec.Struct, frozen=True):
    progress: TrainingProgress
    tensors: Tensors
    sha256: str  # of the weights


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _stored(data: bytes) -> FileDigest:
    return FileDigest(len(data), _sha256(data))


def save_checkpoint(
    place: Path, progress: TrainingProgress, tensors: Tensors, decided: Mapping[str, bytes]
) -> Path:
    """The checkpoint appears in `place`, whole or not at all; decided: the run's files it is of."""
    for named in tensors.values():
        for name, tensor in named.items():
            if not torch.isfinite(tensor).all():
                raise DivergedError(
                    f"{name} is not finite after update {progress.step}: it is not saved. "
                    "The last good checkpoint is kept; train with a lower --learning-rate"
                )
    files = {
        f"{file}.safetensors": safetensors.save(
            {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}
        )
        for file, named in tensors.items()
    }
    files["progress.json"] = encode_json(progress)
    manifest = Manifest(
        format=FORMAT_VERSION,
        step=progress.step,
        files={name: _stored(data) for name, data in files.items()},
        run={name: _stored(data) for name, data in decided.items()},
    )
    files["manifest.json"] = manifest.canonical_bytes()
    path = place / f"step-{progress.step:08d}"
    durable.write_directory_atomic(path, files)
    return path


def load_checkpoint(path: Path, run: Path) -> Checkpoint:
    """The checkpoint there, if each of its bytes is as it was written."""
    data = read_bytes(path / "manifest.json")
    manifest = decode_json(data, Manifest, path / "manifest.json")
    if data != manifest.canonical_bytes() or path.name != f"step-{manifest.step:08d}":
        raise DataError(f"{path / 'manifest.json'} is damaged")
    if set(manifest.files) != FILES or set(manifest.run) != RUN_METADATA_FILES:
        raise DataError(f"{path / 'manifest.json'} does not name the files of a checkpoint")
    contents = {}
    for place, files in ((run, manifest.run), (path, manifest.files)):
        for name, stored in files.items():
            contents[name] = read_bytes(place / name)
            if _stored(contents[name]) != stored:
                raise DataError(
                    f"{place / name} is damaged: its SHA-256 is "
                    f"{_sha256(contents[name])[:12]}…, not {stored.sha256[:12]}…"
                )
    try:
        tensors = {
            file: safetensors.load(contents[f"{file}.safetensors"])
            for file in ("model", "training")
        }
    except (SafetensorError, ValueError, KeyError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    progress = decode_json(contents["progress.json"], TrainingProgress, path / "progress.json")
    return Checkpoint(progress, tensors, manifest.files["model.safetensors"].sha256)
