"""Comparison reports."""

from typing import Any

Report = dict[str, Any]
