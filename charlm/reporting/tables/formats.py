"""Formats of the text of a comparison."""

from typing import Literal

ReportFormat = Literal["markdown", "csv", "latex", "methods", "bibtex"]
