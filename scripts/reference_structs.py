"""Meaning and JSON type of every key of a struct, from its source.

The meaning of a key is, in this order: the comment beside the field, the help of the option of this
name, the entry in COMMON, or what its struct is. A key without a meaning is an error.
"""

import ast
import inspect
import io
import pkgutil
import re
import tokenize
import types
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module

import msgspec
from msgspec import inspect as schema
from reference_catalog import StructClass

from charlm import results
from charlm.config import Config
from charlm.results.values import LARGEST_INTEGER

# Keys that mean the same in every file, and are no options.
COMMON = {
    "format": "version of this format; other versions are refused",
    "charlm": "version of charlm that wrote the file",
    "command": "command line that wrote the file",
    "parameters": "trainable parameters of the model",
    "state_size": "floats that the model carries from one character to the next, per stream",
    "flops_per_character": "FLOPs of the matrix products of one character, forward",
    "relative_error": "relative difference from the matched budget",
    "step": "optimizer steps done",
    "kernel": "kernel that ran the recurrence",
    "device": "device that ran the model",
    "threads": "CPU threads",
    "weights_sha256": "SHA-256 of the model's weights",
    "corpus_sha256": "SHA-256 of the whole text",
    "text_sha256": "SHA-256 of exactly the bytes that were read",
    "sha256": "SHA-256, hexadecimal",
    "ci_low": "lower end of the 95 % confidence interval",
    "ci_high": "upper end of the 95 % confidence interval",
    "seeds": "seed of each run",
    "layer": "layer, counted from 1",
    "unit": "unit of the layer, counted from 1",
    "role": "`cell` if it is judged, `transformer` if it is shown beside the cells",
    "memory_bytes": "memory, in bytes",
    "disk_bytes": "disk space, in bytes",
    "environment": "versions of charlm, PyTorch and Python; machine, device, threads",
    "settings": "value of each option, by name",
    "length": "length of the task's sequences, in its own unit",
    "loss": "nats per target, or mean squared error of a task that asks for numbers",
    "accuracy": "fraction of correct answers",
}


def all_structs() -> Iterator[StructClass]:
    """Yield every struct that is defined in `charlm.results`."""
    for info in pkgutil.iter_modules(results.__path__, "charlm.results."):
        module = import_module(info.name)
        for value in vars(module).values():
            is_struct = inspect.isclass(value) and issubclass(value, msgspec.Struct)
            if is_struct and value.__module__ == module.__name__:
                yield value


def referenced_structs(value: schema.Type) -> Iterator[StructClass]:
    """Yield the structs that a type mentions, directly."""
    match value:
        case schema.StructType():
            yield value.cls
        case schema.Metadata():
            yield from referenced_structs(value.type)
        case schema.UnionType():
            for part in value.types:
                yield from referenced_structs(part)
        case schema.VarTupleType() | schema.ListType() | schema.CollectionType():
            yield from referenced_structs(value.item_type)
        case schema.TupleType():
            for part in value.item_types:
                yield from referenced_structs(part)
        case schema.DictType():
            yield from referenced_structs(value.value_type)


def struct_type(struct: StructClass) -> schema.StructType:
    """Return msgspec's description of a struct."""
    described = schema.type_info(struct)
    assert isinstance(described, schema.StructType)
    return described


def reachable_structs(roots: Sequence[StructClass]) -> list[StructClass]:
    """Return the roots and every struct below them, in order of first mention."""
    found = list(dict.fromkeys(roots))
    for struct in found:  # grows
        for field in struct_type(struct).fields:
            found += [s for s in referenced_structs(field.type) if s not in found]
    return found


@cache
def parse_module(module: types.ModuleType) -> tuple[ast.Module, dict[int, str]]:
    """Return the syntax tree of a module and its comments by line."""
    source = inspect.getsource(module)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    return ast.parse(source), comments


@cache
def comments_by_field(struct: StructClass) -> dict[str, str]:
    """Return the comment beside each field of a struct, inherited fields included."""
    meanings: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if base is msgspec.Struct or not issubclass(base, msgspec.Struct):
            continue
        module = inspect.getmodule(base)
        assert module is not None
        tree, comments = parse_module(module)
        for definition in tree.body:
            if not (isinstance(definition, ast.ClassDef) and definition.name == base.__name__):
                continue
            for node in definition.body:
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
                    beside = " ".join(comments[line] for line in lines if line in comments)
                    if beside and not beside.startswith(("noqa", "type:")):
                        meanings[node.target.id] = beside
    return meanings


def option_help(kind: schema.Type) -> str | None:
    """Return the description that a type is annotated with."""
    while isinstance(kind, schema.Metadata):
        description = (kind.extra_json_schema or {}).get("description")
        if description:
            return str(description)
        kind = kind.type
    return None


@cache
def option_meanings() -> dict[str, str]:
    """Return the help of every field of Config."""
    fields = struct_type(Config).fields
    return {field.name: option_help(field.type) or "" for field in fields}


def describe_field(struct: StructClass, field: schema.Field) -> str:
    """Return the meaning of a field.

    Raises:
        LookupError: it is stated nowhere.
    """
    name = field.name
    stated = [
        comments_by_field(struct).get(name),
        option_help(field.type),
        COMMON.get(name),
        option_meanings().get(name),
        *(first_sentence(part) for part in referenced_structs(field.type)),
    ]
    for meaning in stated:
        if meaning:
            return meaning
    raise LookupError(f"{struct.__module__}.{struct.__name__}.{name}")


def json_type(value: schema.Type) -> str:
    """Return the JSON type of a value, in words, as Markdown."""
    match value:
        case schema.Metadata():
            return json_type(value.type)
        case schema.StructType():
            return f"[{value.cls.__name__}](#{value.cls.__name__.lower()})"
        case schema.UnionType():
            return " or ".join(json_type(part) for part in value.types)
        case schema.VarTupleType() | schema.ListType() | schema.CollectionType():
            return f"array of {json_type(value.item_type)}"
        case schema.TupleType():
            return f"array [{', '.join(json_type(part) for part in value.item_types)}]"
        case schema.DictType():
            return f"object of {json_type(value.value_type)}"
        case schema.LiteralType():
            return ", ".join(f"`{msgspec.json.encode(v).decode()}`" for v in value.values)
        case schema.IntType() | schema.FloatType():
            name = "integer" if isinstance(value, schema.IntType) else "number"
            return name + number_range(value)
    names = {
        schema.AnyType: "any",
        schema.NoneType: "null",
        schema.BoolType: "boolean",
        schema.StrType: "string",
    }
    return names[type(value)]


def number_range(value: schema.IntType | schema.FloatType) -> str:
    """Return the range that a number must lie in, or nothing."""
    limits = ((value.ge, "≥"), (value.gt, ">"), (value.le, "≤"), (value.lt, "<"))
    stated = [
        f"{sign} {limit:,}"
        for limit, sign in limits
        if limit is not None and abs(limit) < LARGEST_INTEGER  # what a file can hold at all
    ]
    return f" ({', '.join(stated)})" if stated else ""


def default_note(struct: StructClass, field: schema.Field) -> str:
    """Return when a key may be absent."""
    if struct.__struct_config__.omit_defaults and not field.required:
        return f" Absent if {msgspec.json.encode(field.default).decode()}."
    return ""


def finish_sentence(meaning: str, key: str) -> str:
    """Return the comment as a sentence in a table cell; "of a cell" goes on after the key."""
    if meaning.startswith("of "):
        noun = "SHA-256" if key.endswith("sha256") else key.replace("_", " ")
        meaning = f"{noun} {meaning}"
    sentence = meaning[0].upper() + meaning[1:]
    return re.sub(r"\bNone\b", "null", sentence).rstrip(".").replace("|", "\\|") + "."


def first_sentence(struct: StructClass) -> str:
    """Return the first sentence of a struct's docstring, without the name of its file."""
    sentence = re.split(r"[.:](?:\s|$)", struct_docstring(struct), maxsplit=1)[0]
    return re.sub(r"^`[^`]+`: ", "", sentence)


def struct_docstring(struct: StructClass) -> str:
    """Return the docstring of a struct without its indentation.

    Raises:
        LookupError: there is none.
    """
    doc = inspect.cleandoc(struct.__doc__ or "")
    if not doc or doc.startswith("TODO"):
        raise LookupError(f"{struct.__module__}.{struct.__name__}")
    return doc
