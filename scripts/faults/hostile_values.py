"""Hostile JSON: each value replaced by bad ones, lists of other lengths, and damaged bytes."""

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

Json = Any  # a document of any shape, as decoded from JSON: mutations leave it no type
Path = tuple[str | int, ...]  # keys and indices from the top of a document

# A number as raw text, since JSON has numbers that Python's encoder does not write.
NUMBERS = (
    *("-1", "0", "1", "2", "-0.0", "0.5", "1e-320", "1e308", "-1e308", "1e999", "-1e999"),
    *("255", "65536", "2147483647", "2147483648", "4294967296", "9007199254740993"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775808"),
    *("18446744073709551616", "1" + "0" * 30, "9" * 400, "NaN", "Infinity", "1e-999"),
)
WORDS = (
    *(
        "",
        " ",
        "0",
        "-",
        "..",
        ".",
        "/",
        "~",
        "-x",
        "--help",
        "\0",
        "a\0b",
        "\n",
        "\x1b]52;c;eA==\a",
    ),
    *("../../outside/planted", "../outside/victim", "/etc/passwd", "/dev/zero", "/proc/self/mem"),
    *("/dev/stdin", "\u202eabc", "\u200b", "\ufeff", "\ud7ff", "<script>alert(1)</script>"),
    *("=1+1", "@SUM(A1)", "{{7*7}}", "{0.__class__}", "%s%n%x", "${HOME}", "`id`", "$(id)"),
    *("__import__('os').system('true')", "os.py:system", "outside/cell.py:Planted"),
    *("lstm", "gru", "rnn", "attention", "auto", "cuda:99", "compiled", "loop", "scan", "native"),
    *("0" * 64, "f" * 64, "1/0", "1/3", "0.9,0.05,0.05", "nan", "inf", "1e309", "best", "\\", '"'),
    *("x" * 300, "x" * 70_000, "a/" * 3000, "utf-8", "bytes", "residual", "learned", "true"),
)
OTHERS = (
    *("null", "true", "false", "[]", "{}", "[[]]", '[""]', "[0]", "[-1]", "[1e999]", '{"":0}'),
    *('{"a":{"a":{}}}', "[null]", '"\\ud800"', '"\\u0000"', "[" * 2000 + "]" * 2000),
    *('{"a":' * 1500 + "0" + "}" * 1500, "[" + "0," * 20_000 + "0]", "", "nul", "'x'", "[1,]"),
    *('"\xff"', "\x00", "// x", "1 2", '{"a":1,"a":2}'),
)
ODD_KEYS = ("", "x", "../x", "__class__", "\0", "format", "sha256", "x" * 5000)
LIST_LENGTHS = (0, 1, 2, 2000)
MAX_LIST_BYTES = 2**21
MARK = "\ue000replaced\ue000"  # where raw text is put in: no file has it
ENCODED_MARK = msgspec.json.encode(MARK)

VALUES = tuple(
    value.encode("utf-8", "surrogatepass" if "\ud800" in value else "strict")
    for value in (*NUMBERS, *OTHERS)
) + tuple(msgspec.json.encode(word) for word in WORDS)


class Field(NamedTuple):
    """A place in a document, and what is done there."""

    path: Path
    action: str  # replace, delete, add, rename, double


def walk(value: Json, path: Path = ()) -> Iterator[Path]:
    """Yield the paths of all values of a document; of long lists only those of three items."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from walk(item, (*path, key))
    elif isinstance(value, list):
        for index in sorted({0, len(value) // 2, len(value) - 1} if value else ()):
            yield from walk(value[index], (*path, index))


def replace(document: Json, path: Path, raw: bytes) -> bytes:
    """Return a document with raw text in place of one value."""
    if not path:
        return raw
    changed = msgspec.json.decode(msgspec.json.encode(document))
    _parent(changed, path)[path[-1]] = MARK
    return msgspec.json.encode(changed).replace(ENCODED_MARK, raw, 1)


def resize_list(document: Json, path: Path, length: int) -> bytes:
    """Return a document whose list at a path has another length: its items, cut or repeated."""
    items = _parent(document, (*path, 0))
    repeated = items * (length // max(1, len(items)) + 1)
    raw = [msgspec.json.encode(item) for item in repeated[:length]]
    kept = MAX_LIST_BYTES // max(1, *map(len, raw)) if raw else 0
    return replace(document, path, b"[" + b",".join(raw[: max(1, kept)]) + b"]")


def _parent(document: Json, path: Path) -> Json:
    for key in path[:-1]:
        document = document[key]
    return document


def _restructure(document: Json, path: Path, rng: random.Random) -> bytes:
    """Delete, add, rename or double a key or an item."""
    changed = msgspec.json.decode(msgspec.json.encode(document))
    if not path:
        return msgspec.json.encode([changed])
    parent, key = _parent(changed, path), path[-1]
    action = rng.choice(("delete", "add", "rename", "double"))
    if isinstance(parent, list):
        if action == "delete":
            del parent[int(key)]
        else:
            parent.extend([parent[int(key)]] * rng.choice((1, 2, 1000)))
        return msgspec.json.encode(changed)
    if action == "double":
        name, value = msgspec.json.encode(str(key)), msgspec.json.encode(parent[key])
        parent[MARK] = 0
        twice = name + b":" + value + b"," + name
        return msgspec.json.encode(changed).replace(ENCODED_MARK, twice, 1)
    if action == "add":
        parent[rng.choice(ODD_KEYS)] = parent[key]
    else:
        value = parent.pop(key)
        if action == "rename":
            parent[rng.choice(ODD_KEYS)] = value
    return msgspec.json.encode(changed)


def mutate_json(data: bytes, index: int, rng: random.Random) -> bytes:
    """Return hostile JSON: first every place with every bad value, then random changes.

    Every fourth is a list of another length instead, as long as there are any.

    Args:
        data: Sound document.
        index: Which of its changes.
        rng: Source of the random ones.
    """
    document = msgspec.json.decode(data)
    places = list(walk(document))
    lists = [path for path in places if isinstance(_parent(document, (*path, 0)), list)]
    table = len(places) * len(VALUES)
    quarter, remainder = divmod(index, 4)
    if remainder == 0 and quarter < len(lists) * len(LIST_LENGTHS):
        which = quarter * 7919 % (len(lists) * len(LIST_LENGTHS))
        return resize_list(document, lists[which % len(lists)], LIST_LENGTHS[which // len(lists)])
    if index < table:
        # Neighbouring numbers change far apart places, so that a small sample has all of them.
        number = index * 7919 % table
        return replace(document, places[number % len(places)], VALUES[number // len(places)])
    kind = rng.randrange(4)
    if kind == 0:
        return _restructure(document, rng.choice(places), rng)
    if kind == 1:
        return mutate_bytes(data, rng)
    changed = replace(document, rng.choice(places), rng.choice(VALUES))
    try:
        again = msgspec.json.decode(changed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return changed
    return replace(again, rng.choice(list(walk(again))), rng.choice(VALUES))


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return bytes that are flipped, cut, put in, taken out, doubled or swapped."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        place = rng.randrange(len(changed) + 1)
        end = min(len(changed), place + rng.choice((1, 1, 2, 8, 64)))
        kind = rng.randrange(6)
        if kind == 0 and place < len(changed):
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[place:place] = rng.randbytes(rng.choice((1, 2, 8)))
        elif kind == 2:
            del changed[place:end]
        elif kind == 3:
            changed[place:place] = changed[place:end]
        elif kind == 4:
            changed[place:end] = rng.choice((b"\0", b"\xff", b"9", b"-", b'"', b"{", b"\n"))
        else:
            del changed[place:]
    return bytes(changed)
