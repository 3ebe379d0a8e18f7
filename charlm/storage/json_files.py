"""JSON files: read into typed structs, written indented, with their own SHA-256 where it counts."""

import hashlib
import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from charlm.errors import ConfigError
from charlm.storage.reading import RECORD_BYTES, FileError, read_regular_file

T = TypeVar("T")
SEAL = re.compile(rb',\n  "sha256": "([0-9a-f]{64})"\n}\n\Z')  # last key of a sealed object


def read_json(path: Path, kind: type[T], limit: int = RECORD_BYTES) -> T:
    """Return the content of a JSON file as a value of this type.

    Raises:
        DataError: It is missing, too large, no regular file, no JSON, or not of this type.
        StorageError: It cannot be read now.
    """
    return decode_json(read_regular_file(path, limit), kind, path)


def decode_json(data: bytes, kind: type[T], path: Path) -> T:
    """Return the content of a JSON file as a value of this type.

    Raises:
        DataError: It is no JSON, or not of this type; the message names the path.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ConfigError) as error:
        raise _damaged(path, str(error)) from error


def encode_json(value: Any) -> bytes:
    """Return indented JSON that ends with a newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def seal_json(value: Any) -> bytes:
    """Return the JSON of an object, whose last key `sha256` is the SHA-256 of `encode_json`.

    So a flipped bit and a changed digit are found by `unseal_json`. It does not prove who wrote it.
    """
    data = encode_json(value)
    digest = hashlib.sha256(data).hexdigest()
    return data.removesuffix(b"\n}\n") + f',\n  "sha256": "{digest}"\n}}\n'.encode()


def unseal_json(data: bytes, path: Path) -> bytes:
    """Return the JSON that was sealed, without its SHA-256, which is verified.

    Raises:
        DataError: It was changed since it was sealed, or never was; the message names the path.
    """
    seal = SEAL.search(data)
    if seal is None:
        raise _damaged(path, "it is cut off or was changed, since its SHA-256 is not at its end")
    sealed = data[: seal.start()] + b"\n}\n"
    if hashlib.sha256(sealed).hexdigest().encode() != seal[1]:
        raise _damaged(path, "its content does not have the SHA-256 at its end")
    return sealed


def read_sealed_json(path: Path, kind: type[T], limit: int = RECORD_BYTES) -> T:
    """Return the content of a sealed JSON file as a value of this type.

    Raises:
        DataError: It is missing, was changed, or is not of this type.
        StorageError: It cannot be read now.
    """
    return decode_json(unseal_json(read_regular_file(path, limit), path), kind, path)


def _damaged(path: Path, cause: str) -> FileError:
    return FileError(
        f"cannot read {path.parent}: {path.name} is damaged: {cause}. Restore it from a backup",
        path,
        cause,
    )
