"""Reports of comparisons as text: results of `charlm report` and `charlm cells bibtex`."""

import msgspec


class ReportText(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `charlm report`."""

    format: str  # markdown, csv, latex, methods or bibtex
    text: str  # the report in this format


class ReportFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `charlm report --out`."""

    out: str  # directory that was written
    files: tuple[str, ...]  # names of the files in it


class Bibliography(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `charlm cells bibtex`."""

    bibtex: str  # entries of the papers of the cells, and of charlm
