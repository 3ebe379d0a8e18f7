"""JSON files: read into typed structs, written indented."""

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from charlm.errors import DataError
from charlm.storage.reading import RECORD_BYTES, read_regular_file

T = TypeVar("T")


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
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(
            f"cannot read {path.parent}: {path.name} is damaged: {error}. Try a copy of it"
        ) from error


def encode_json(value: Any) -> bytes:
    """Return indented JSON that ends with a newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
