"""A table as rows of plain text, from which Markdown and LaTeX are made."""

from collections.abc import Sequence
from typing import NamedTuple


class Group(NamedTuple):
    """Rows of a table below a title of their own."""

    title: str  # "" if the table has no groups
    rows: Sequence[Sequence[str]]


class Table(NamedTuple):
    """A table with heads, groups of rows, and a caption."""

    name: str  # of its label in LaTeX
    caption: str  # a sentence or more
    heads: Sequence[str]
    groups: Sequence[Group]
    text_columns: frozenset[int] = frozenset({0})  # columns of words, aligned to the left
