"""Reference page of the Python interface: the public names of charlm."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import charlm

SECTIONS = ("Args", "Returns", "Yields", "Raises", "Attributes", "Source")
HEADINGS = {"Args": "Arguments"}


def api_page() -> str:
    """Return signature and documentation of every public name."""
    names = [name for name in charlm.__all__ if name != "__version__"]
    functions = [name for name in names if not inspect.isclass(getattr(charlm, name))]
    classes = [name for name in names if name not in functions]
    parts = [
        "# Python API",
        "The public names of `import charlm`. [Use it from Python](../guides/python.md) has "
        "examples; [files and keys](files.md) has the fields of every result. `charlm.__version__` "
        "is the version.",
        "## Functions",
        *(describe(name) for name in functions),
        "## Classes",
        *(describe(name) for name in classes),
    ]
    return "\n\n".join(parts)


def describe(name: str) -> str:
    """Return the section of a function or class."""
    value = getattr(charlm, name)
    parts = [f"### {name}"]
    if inspect.isclass(value):
        if name == "Config":
            parts.append(first_paragraphs(value))
            parts.append(
                "All settings are keyword arguments, each with a default: [settings](settings.md)."
            )
        else:
            parts += [documentation(inspect.getdoc(value) or "")]
        if rows := list(member_rows(value)):
            parts.append("\n".join(["| member | meaning |", "|---|---|", *rows]))
    else:
        parts.append(f"```python\n{signature(value)}\n```")
        parts.append(documentation(inspect.getdoc(value) or ""))
    return "\n\n".join(parts)


def first_paragraphs(value: Any) -> str:
    """Return the docstring without its sections."""
    return split_sections(inspect.getdoc(value) or "")[0]


def definition(value: Any) -> ast.FunctionDef:
    """Return the syntax tree of a function."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(value)))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    return tree


def signature(value: Any) -> str:
    """Return name, parameters and result as in the source, one parameter per line if long."""
    node = definition(value)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{node.name}({ast.unparse(node.args)}){returns}"
    if len(line) <= 88:
        return line
    arguments = node.args
    parameters = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(parameters) - len(arguments.defaults))
    defaults += arguments.defaults
    lines = [parameter(arg, default) for arg, default in zip(parameters, defaults, strict=True)]
    if arguments.vararg:
        lines.append(f"*{parameter(arguments.vararg, None)}")
    elif arguments.kwonlyargs:
        lines.append("*")
    lines += [
        parameter(arg, default)
        for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    if arguments.kwarg:
        lines.append(f"**{parameter(arguments.kwarg, None)}")
    body = "".join(f"    {line},\n" for line in lines)
    return f"{node.name}(\n{body}){returns}"


def parameter(argument: ast.arg, default: ast.expr | None) -> str:
    """Return a parameter as Python writes it."""
    if argument.annotation is None:
        return argument.arg + (f"={ast.unparse(default)}" if default else "")
    text = f"{argument.arg}: {ast.unparse(argument.annotation)}"
    return text + (f" = {ast.unparse(default)}" if default else "")


def split_sections(doc: str) -> tuple[str, dict[str, str]]:
    """Return the text of a docstring and its sections, dedented."""
    parts = re.split(rf"^({'|'.join(SECTIONS)}):[ ]*", doc, flags=re.M)
    sections = {
        name: textwrap.dedent(text).strip()
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }
    return parts[0].strip(), sections


def documentation(doc: str) -> str:
    """Return a docstring of the Google convention as Markdown."""
    text, sections = split_sections(doc)
    parts = [text.replace("*   ", "- ")]
    for name, content in sections.items():
        if name in ("Returns", "Yields", "Source"):
            parts.append(f"**{name}.** {' '.join(content.split())}")
        else:
            parts.append(f"**{HEADINGS.get(name, name)}**")
            parts.append("\n".join(f"- `{key}`: {meaning}" for key, meaning in entries(content)))
    return "\n\n".join(part for part in parts if part)


def entries(content: str) -> Iterator[tuple[str, str]]:
    """Yield names and meanings of a section."""
    for entry in re.split(r"\n(?=\S)", content):
        key, _, meaning = entry.partition(": ")
        yield key.strip(), " ".join(meaning.split())


def member_rows(value: Any) -> Iterator[str]:
    """Yield a row for each public method and property that the class defines."""
    for name, member in vars(value).items():
        target = member.fget if isinstance(member, property) else member
        target = getattr(target, "__func__", None) or getattr(target, "func", None) or target
        if name.startswith("_") or not inspect.isfunction(target) or not target.__doc__:
            continue
        summary = " ".join(inspect.cleandoc(target.__doc__).split("\n\n")[0].split())
        label = name if isinstance(member, property) else f"{name}()"
        yield f"| `{label}` | {summary.replace('|', chr(92) + '|')} |"
