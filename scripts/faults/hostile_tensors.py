"""Hostile safetensors files: headers that lie, and tensors of other names, shapes and values."""

import json
import random
import struct
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from .hostile_values import Json, mutate_bytes, replace, walk

Header = dict[str, Json]  # as it is in the file: entries may have any form
SIZES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "BF16": 2, "F16": 2, "I8": 1, "BOOL": 1}
DTYPES = (*SIZES, "F8_E4M3", "F8_E8M0", "F4", "C64", "X32", "", "f32", "F32\0", "float32")
DIMENSIONS = (0, 1, 2, 3, 5, 8, 63, 4096, 2**31, 2**32, 2**40, 2**62, 2**63, 2**64, 2**80, -1)
NAMES = (
    *("", "\0", "a\0b", "/", "../x", "__metadata__", "carried/0/0", "carried/-1/0", "carried/x/0"),
    *("carried/0", "carried/99999999999/0", "carried/0/-1", "exp_avg/bias", "exp_avg/x", "exp_avg"),
    *("exp_avg_sq/bias", "step/bias", "bias", "/bias", "x" * 10_000, "\u202e", "\ud7ff"),
)
SPECIAL = (  # nan, inf, huge, denormal, -0
    *(0x7FC00000, 0x7F800001, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x60AD78EC),
    *(0xE0AD78EC, 0x00000001, 0x80000000, 0x00000000, 0x3F800000),
)
RAW = [b"null", b"-1", b"0", b"[]", b"{}", b'""', b"1e999", b"9223372036854775808", b"[0,0]"]
RAW += [
    b"[4,0]",
    b"[-1,4]",
    b"[0,1e3]",
    b"[0,18446744073709551616]",
    b"true",
    b"[" * 500 + b"]" * 500,
]


class Tensor(NamedTuple):
    """A tensor of a file, whose parts need not fit each other."""

    dtype: str
    shape: list[int]
    data: bytes


def split(data: bytes) -> tuple[Header, bytes]:
    """Return header and body of a safetensors file."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(header: bytes, body: bytes, length: int | None = None) -> bytes:
    """Return a safetensors file, whose stated length of the header may be another."""
    return struct.pack("<Q", len(header) if length is None else length) + header + body


def encode(header: Header) -> bytes:
    """Return a header in the form that safetensors writes; charlm refuses any other."""
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def pack(tensors: dict[str, Tensor]) -> bytes:
    """Return a well-formed file of tensors."""
    header, body = {}, b""
    for name, (dtype, shape, data) in tensors.items():
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        body += data
    return join(encode(header), body)


def unpack(data: bytes) -> dict[str, Tensor]:
    """Return the tensors of a sound file."""
    header, body = split(data)
    return {
        name: Tensor(entry["dtype"], entry["shape"], body[slice(*entry["data_offsets"])])
        for name, entry in header.items()
        if name != "__metadata__"
    }


def _other_shape(data: bytes, rng: random.Random) -> bytes:
    """Give one to three tensors another shape, with as many bytes as it needs or as there were."""
    tensors = unpack(data)
    for name in rng.sample(list(tensors), rng.choice((1, 1, 3))):
        dtype, shape, content = tensors[name]
        kind = rng.randrange(6)
        if kind == 0:
            shape = shape[::-1]
        elif kind == 1:
            shape = [int(n * rng.choice((0, 0.5, 2, 7))) for n in shape]
        elif kind == 2:
            shape = [*shape, rng.choice((1, 0, 2))]
        elif kind == 3:
            shape = shape[1:]
        elif kind == 4:
            shape = [rng.choice(DIMENSIONS) for _ in range(rng.choice((0, 1, 2, 3, 9, 70)))]
        else:
            shape = [*shape[:-1], (shape[-1] if shape else 0) + rng.choice((-1, 1, 1000))]
        needed = SIZES.get(dtype, 4)
        for size in shape:
            needed = int(needed * size) if abs(size) < 2**20 else 0
        if rng.random() < 0.8 and 0 <= needed <= 2**18:
            content = (content * (needed // max(1, len(content)) + 1))[:needed].ljust(needed, b"\0")
        tensors[name] = Tensor(dtype, shape, content)
    return pack(tensors)


def _other_dtype(data: bytes, rng: random.Random) -> bytes:
    tensors = unpack(data)
    for name in rng.sample(list(tensors), rng.choice((1, 1, 3))):
        dtype, shape, content = tensors[name]
        new = rng.choice(DTYPES)
        size = len(content) * SIZES.get(new, 4) // SIZES[dtype]
        if rng.random() < 0.8:
            content = (content * 2)[:size]
        tensors[name] = Tensor(new, shape, content)
    return pack(tensors)


def _other_name(data: bytes, rng: random.Random) -> bytes:
    tensors = unpack(data)
    names = list(tensors)
    kind, name = rng.randrange(5), rng.choice(names)
    if kind == 0:
        tensors[rng.choice(NAMES)] = tensors.pop(name)
    elif kind == 1:
        tensors[rng.choice(NAMES)] = tensors[name]
    elif kind == 2:
        del tensors[name]
    elif kind == 3:
        other = rng.choice(names)
        tensors[name], tensors[other] = tensors[other], tensors[name]
    else:
        empty = Tensor("F32", [0], b"")
        tensors |= {f"{name}{number}": empty for number in range(rng.choice((3, 3000)))}
    return pack(tensors)


def _other_values(data: bytes, rng: random.Random) -> bytes:
    """Put nan, inf, denormal and huge numbers into tensors."""
    tensors = unpack(data)
    for name in rng.sample(list(tensors), rng.choice((1, 1, min(4, len(tensors)), len(tensors)))):
        dtype, shape, content = tensors[name]
        numbers = bytearray(content)
        for _ in range(rng.choice((1, 3, len(numbers) // 4))):
            if len(numbers) >= 4:
                place = 4 * rng.randrange(len(numbers) // 4)
                numbers[place : place + 4] = struct.pack("<I", rng.choice(SPECIAL))
        tensors[name] = Tensor(dtype, shape, bytes(numbers))
    return pack(tensors)


def _other_header(data: bytes, rng: random.Random) -> bytes:
    """Change one value of the header, with the length made right."""
    header, body = split(data)
    path = rng.choice(list(walk(header)))
    return join(replace(header, path, rng.choice(RAW)), body)


def _other_offsets(data: bytes, rng: random.Random) -> bytes:
    """Make overlaps, holes, reversed and far offsets."""
    header, body = split(data)
    names = [name for name in header if name != "__metadata__"]
    entry, other = header[rng.choice(names)], header[rng.choice(names)]
    start, end = entry["data_offsets"]
    entry["data_offsets"] = rng.choice(
        (
            [end, start],
            [start + 4, end + 4],
            [start, end + 4],
            [max(0, start - 4), end],
            other["data_offsets"],
            [2**63 - 4, 2**63],
            [-4, end],
            [start, len(body) * 2],
            [2**64 - 4, 2**64],
            [0, 0],
        )
    )
    return join(encode(header), body)


def _other_length(data: bytes, rng: random.Random) -> bytes:
    header, body = split(data)
    text = msgspec.json.encode(header)
    sizes = (0, 1, 7, 8, len(text) - 1, len(text) + 1, 2**31, 10**8, 2**62, 2**63, 2**64 - 1)
    return join(text, body, rng.choice(sizes))


def _doubled_name(data: bytes, rng: random.Random) -> bytes:
    header, body = split(data)
    text = msgspec.json.encode(header)
    name = rng.choice(list(header))
    entry = dict(header[name]) if name != "__metadata__" else {}
    if rng.random() < 0.5 and entry:
        entry["shape"] = [rng.choice(DIMENSIONS)]
    pair = msgspec.json.encode(name) + b":" + encode(entry)
    return join(text[:-1] + b"," + pair + b"}", body)


def _other_body(data: bytes, rng: random.Random) -> bytes:
    return rng.choice((data[:-4], data + b"\0" * 4, data[:-1], data[:8], b"", data * 2, data[8:]))


def _other_bytes(data: bytes, rng: random.Random) -> bytes:
    return mutate_bytes(data, rng)


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_other_shape, _other_shape, _other_values, _other_name, _other_dtype, _other_header),
    *(_other_offsets, _other_length, _doubled_name, _other_body, _other_bytes),
)


def mutate_tensors(data: bytes, index: int, rng: random.Random) -> bytes:
    """Return a hostile file of tensors: the kinds of changes in turn."""
    return MUTATIONS[index % len(MUTATIONS)](data, rng)


def with_other_size(data: bytes, prefix: str) -> bytes:
    """Return a well-formed file whose tensors of this prefix have one number each."""
    tensors = unpack(data)
    for name in tensors:
        if name.startswith(prefix):
            tensors[name] = Tensor("F32", [1], bytes(4))
    return pack(tensors)


def describe(data: bytes) -> dict[str, tuple[Json, Json]] | None:
    """Return name -> dtype and shape of a file of tensors; None if it cannot be read."""
    try:
        header, _ = split(data)
        return {
            name: (entry["dtype"], entry["shape"])
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError):
        return None
