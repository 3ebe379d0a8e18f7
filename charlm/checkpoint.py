"""A checkpoint: tensors and where they stand, in files that each prove to be as they were written.

safetensors runs no code when it is read, but notices no flipped bit in a weight: so every byte is
covered by a SHA-256, the manifest's own included.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from charlm import durable
from charlm.config import FORMAT
from charlm.errors import BadData, NonFinite

FILES = {"model.safetensors", "training.safetensors", "progress.json"}
DECIDED = {"run.json", "alphabet.json"}  # of the run: never changes, each checkpoint vouches for it
T = TypeVar("T")
Tensors = dict[str, dict[str, Tensor]]  # file -> name -> tensor


class Progress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a checkpoint stands."""

    update: int
    seconds: float  # spent in updates
    metrics_bytes: int  # length of metrics.jsonl
    valid_bits: float | None  # of exactly these weights, where they were validated
    best_update: int | None
    best_bits: float | None


class Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The hash of every file of a checkpoint, of the run's settings and alphabet, and of itself."""

    format: int
    update: int
    files: dict[str, Stored]
    run: dict[str, Stored]
    sha256: str = ""

    def sealed(self) -> bytes:
        """Its only spelling: any other bytes are damage."""
        bare = msgspec.json.encode(msgspec.structs.replace(self, sha256=""))
        return msgspec.json.encode(msgspec.structs.replace(self, sha256=_sha256(bare)))


class Checkpoint(msgspec.Struct, frozen=True):
    progress: Progress
    tensors: Tensors
    sha256: str  # of the weights


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _stored(data: bytes) -> Stored:
    return Stored(len(data), _sha256(data))


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror}") from error


def decoded(data: bytes, kind: type[T], path: Path) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadData(f"{path} is damaged: {error}") from error


def readable(value: Any) -> bytes:
    """JSON that a person can read."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def write(place: Path, progress: Progress, tensors: Tensors, decided: Mapping[str, bytes]) -> Path:
    """The checkpoint appears in `place`, whole or not at all; decided: the run's files it is of."""
    for named in tensors.values():
        for name, tensor in named.items():
            if not torch.isfinite(tensor).all():
                raise NonFinite(
                    f"{name} is not finite after update {progress.update}: it is not saved. "
                    "The last good checkpoint is kept; train with a lower --learning-rate"
                )
    files = {
        f"{file}.safetensors": safetensors.save(
            {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}
        )
        for file, named in tensors.items()
    }
    files["progress.json"] = readable(progress)
    manifest = Manifest(
        format=FORMAT,
        update=progress.update,
        files={name: _stored(data) for name, data in files.items()},
        run={name: _stored(data) for name, data in decided.items()},
    )
    files["manifest.json"] = manifest.sealed()
    path = place / f"update-{progress.update:08d}"
    durable.write_directory(path, files)
    return path


def load(path: Path, run: Path) -> Checkpoint:
    """The checkpoint there, if each of its bytes is as it was written."""
    data = read(path / "manifest.json")
    manifest = decoded(data, Manifest, path / "manifest.json")
    if data != manifest.sealed() or path.name != f"update-{manifest.update:08d}":
        raise BadData(f"{path / 'manifest.json'} is damaged")
    if set(manifest.files) != FILES or set(manifest.run) != DECIDED:
        raise BadData(f"{path / 'manifest.json'} does not name the files of a checkpoint")
    contents = {}
    for place, files in ((run, manifest.run), (path, manifest.files)):
        for name, stored in files.items():
            contents[name] = read(place / name)
            if _stored(contents[name]) != stored:
                raise BadData(
                    f"{place / name} is damaged: its SHA-256 is "
                    f"{_sha256(contents[name])[:12]}…, not {stored.sha256[:12]}…"
                )
    try:
        tensors = {
            file: safetensors.load(contents[f"{file}.safetensors"])
            for file in ("model", "training")
        }
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadData(f"{path} is damaged: {error}") from error
    progress = decoded(contents["progress.json"], Progress, path / "progress.json")
    return Checkpoint(progress, tensors, manifest.files["model.safetensors"].sha256)
