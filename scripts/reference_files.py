"""Reference of every JSON file and key that charlm writes, generated from the source."""

import msgspec
from reference_catalog import DIRECTORIES, IN_MEMORY, PRINTED, StructClass
from reference_structs import (
    all_structs,
    default_note,
    describe_field,
    finish_sentence,
    json_type,
    reachable_structs,
    struct_docstring,
    struct_type,
)

from charlm.config import FORMAT_VERSION


def describe_struct(struct: StructClass) -> str:
    """Return the section of a struct: its docstring and a table of its keys."""
    lines = [f"### {struct.__name__}", "", struct_docstring(struct), ""]
    lines += ["| key | type | meaning |", "|---|---|---|"]
    described = struct_type(struct)
    if described.tag_field is not None:
        tag = msgspec.json.encode(described.tag).decode()
        lines.append(f"| `{described.tag_field}` | `{tag}` | Tells the kinds apart. |")
    missing = []
    for field in described.fields:
        try:
            meaning = finish_sentence(describe_field(struct, field), field.name) + default_note(
                struct, field
            )
        except LookupError as error:
            missing.append(str(error))
            continue
        lines.append(f"| `{field.encode_name}` | {json_type(field.type)} | {meaning} |")
    if missing:
        raise LookupError("\n".join(missing))
    return "\n".join(lines) + "\n"


def written_structs() -> list[StructClass]:
    """Return every struct that is in a file or printed, and those below it."""
    roots = [s for d in DIRECTORIES for file in d.files for s in file.structs]
    return reachable_structs([*roots, *PRINTED.values()])


def undocumented() -> list[str]:
    """Return what keeps the reference from being complete, one problem per entry."""
    problems = []
    written = written_structs()
    known = {*written, *IN_MEMORY}
    for struct in all_structs():
        if struct not in known:
            problems.append(f"{struct.__module__}.{struct.__name__}: neither written nor IN_MEMORY")
    for struct in written:
        try:
            describe_struct(struct)
        except LookupError as error:
            problems += [f"{name}: no comment or docstring" for name in str(error).splitlines()]
    return problems


def link(struct: StructClass) -> str:
    """Return a Markdown link to a struct's section."""
    return f"[{struct.__name__}](#{struct.__name__.lower()})"


def files_page() -> str:
    """Return the whole page."""
    parts = [
        "# Files and keys",
        "Every JSON file that charlm writes, and every key. Each struct below is a class of "
        "`charlm.results`. Numbers are in the unit that the last column states. JSONL files have "
        f"one object per line. The format is {FORMAT_VERSION}; other formats are refused.",
        "Reports, times, results of probes and of lengths of a task, and what a comparison "
        "measures once, have a last key `sha256`: the SHA-256 of the file without it. So a changed "
        "digit is found.",
        "## Files",
    ]
    for directory in DIRECTORIES:
        rows = ["| file | content | purpose |", "|---|---|---|"]
        for file in directory.files:
            content = " or ".join(link(struct) for struct in file.structs)
            each = ", one per line" if file.is_lines else ""
            rows.append(f"| `{file.name}` | {content}{each} | {file.purpose} |")
        parts += [f"**{directory.title}**", "\n".join(rows)]
    parts += [
        "## Output of `--json`",
        "`charlm train`, `charlm probe`, `charlm compare-cells` and `charlm tasks compare` print "
        "their `report.json`; other commands:",
        "\n".join(
            ["| command | result |", "|---|---|"]
            + [f"| `{command}` | {link(struct)} |" for command, struct in PRINTED.items()]
        ),
        "## Keys",
        *(describe_struct(struct).rstrip() for struct in written_structs()),
    ]
    return "\n\n".join(parts) + "\n"
