"""Headers of safetensors files, checked before a tensor is allocated; without PyTorch.

A file is 8 bytes of length, a JSON header, and the numbers of all tensors without holes. Only the
form that charlm writes is accepted: so no name is there twice, and no tensor overlaps another.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from charlm.errors import DataError
from charlm.storage.reading import FileError, damaged_file

ITEM_BYTES = {
    "F64": 8,
    "I64": 8,
    "C64": 8,
    "F32": 4,
    "I32": 4,
    "F16": 2,
    "BF16": 2,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
LENGTH_BYTES = 8
ENTRY_BYTES = 256  # limit of a tensor's entry in the header, without its name
Size = Annotated[int, Meta(ge=0, le=2**62)]


class TensorSpec(NamedTuple):
    """Type and shape of a tensor, whose numbers are contiguous."""

    dtype: str  # as safetensors writes it
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of its numbers."""
        return ITEM_BYTES.get(self.dtype, 0) * math.prod(self.shape)


class TensorEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Entry of a tensor in the header; the order of its keys is that of the file."""

    dtype: Literal["F64", "I64", "C64", "F32", "I32", "F16", "BF16", "I16", "I8", "U8", "BOOL"]
    shape: Annotated[tuple[Size, ...], Meta(max_length=8)]
    data_offsets: tuple[Size, Size]  # first byte and one past the last


def read_header(data: bytes, path: Path) -> dict[str, TensorSpec]:
    """Return the tensors that a safetensors file has.

    Args:
        data: The file.
        path: What a message calls it.

    Raises:
        DataError: It is not a file as charlm writes it.
    """
    length = int.from_bytes(data[:LENGTH_BYTES], "little")
    start = LENGTH_BYTES + length
    if len(data) < LENGTH_BYTES or start > len(data):
        raise _damaged(path, "its header is longer than the file")
    header = data[LENGTH_BYTES:start].rstrip(b" ")
    try:
        entries = msgspec.json.decode(header, type=dict[str, TensorEntry])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _damaged(path, f"its header: {error}") from error
    if msgspec.json.encode(entries) != header:  # also if a name is there twice
        raise _damaged(path, "its header has another form than charlm writes")
    position = 0
    specs = {}
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        spec = TensorSpec(entry.dtype, entry.shape)
        if entry.data_offsets != (position, position + spec.size):
            raise _damaged(path, f"the place of {name} does not fit its shape")
        position += spec.size
        specs[name] = spec
    if start + position != len(data):
        raise _damaged(path, f"it has {len(data) - start:,} bytes of numbers, not {position:,}")
    return specs


def file_limit(specs: Mapping[str, TensorSpec]) -> int:
    """Return the largest size in bytes of a file with these tensors."""
    entries = sum(ENTRY_BYTES + 6 * len(name) for name in specs)  # characters may be escaped
    return LENGTH_BYTES + 64 + entries + sum(spec.size for spec in specs.values())


def check_specs(
    found: Mapping[str, TensorSpec],
    expected: Mapping[str, TensorSpec],
    what: str,
    optional: Iterable[frozenset[str]] = (),
) -> None:
    """Check that tensors are exactly those that the settings imply, before they are used.

    Args:
        found: Tensors by name.
        expected: Tensors that may be there.
        what: What a message calls them.
        optional: Names of expected tensors of which either all are there or none.

    Raises:
        DataError: Names, types or shapes differ.
    """
    missing = expected.keys() - found.keys()
    for group in optional:
        if group <= missing:
            missing = missing - group
    foreign = found.keys() - expected.keys()
    if missing or foreign:
        name, problem = (min(missing), "is missing") if missing else (min(foreign), "is unknown")
        raise DataError(
            f"cannot load the checkpoint: {what} do not fit its settings: {name} {problem}. Train "
            "the run again"
        )
    for name, spec in found.items():
        if spec != expected[name]:
            raise DataError(
                f"cannot load the checkpoint: {what} do not fit its settings: {name} is "
                f"{_describe(spec)}, not {_describe(expected[name])}. Train the run again"
            )


def _describe(spec: TensorSpec) -> str:
    return f"{spec.dtype} {list(spec.shape)}"


def _damaged(path: Path, cause: str) -> FileError:
    return damaged_file(path, f"it is damaged: {cause}")
