"""charlm: train character language models with recurrent cells, and compare the cells.

    corpus = charlm.load_corpus("book.txt")
    config = charlm.Config(cell="gru", hidden_size=256, max_steps=2_000)
    run = charlm.train(corpus, config, run_dir="runs/gru")
    score = charlm.evaluate(run, split="test")

The names are imported when they are first used, so that `import charlm` does not import PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charlm.cells.base import Cell, register_cell
    from charlm.cells.linear_cell import LinearCell
    from charlm.cells.loader import get_cell
    from charlm.comparison.compare import compare
    from charlm.comparison.difference import diff
    from charlm.comparison.finished import load_comparison
    from charlm.compression.compress import compress
    from charlm.compression.decompress import decompress
    from charlm.config import Config
    from charlm.data.corpus import Corpus, load_corpus
    from charlm.evaluation.evaluate import evaluate
    from charlm.evaluation.generation import generate, generate_samples
    from charlm.exporting.export_run import export
    from charlm.inspection.inspect_run import inspect
    from charlm.models.catalog import list_cells
    from charlm.probes.batch import probe
    from charlm.reporting.tables.render import render_report
    from charlm.reproduction.reproduce import reproduce
    from charlm.runs.run import Run, load_run
    from charlm.runs.scalars import load_metrics
    from charlm.runs.verification import verify
    from charlm.testing.check import check_cell
    from charlm.training.session import train

__version__ = "0.1.0"

__all__ = [
    "Cell",
    "Config",
    "Corpus",
    "LinearCell",
    "Run",
    "__version__",
    "check_cell",
    "compare",
    "diff",
    "compress",
    "decompress",
    "evaluate",
    "export",
    "generate",
    "generate_samples",
    "get_cell",
    "inspect",
    "list_cells",
    "load_comparison",
    "load_corpus",
    "load_metrics",
    "load_run",
    "probe",
    "register_cell",
    "render_report",
    "reproduce",
    "train",
    "verify",
]

_MODULES = {
    "Cell": "cells.base",
    "Config": "config",
    "Corpus": "data.corpus",
    "LinearCell": "cells.linear_cell",
    "Run": "runs.run",
    "check_cell": "testing.check",
    "compare": "comparison.compare",
    "diff": "comparison.difference",
    "compress": "compression.compress",
    "decompress": "compression.decompress",
    "evaluate": "evaluation.evaluate",
    "export": "exporting.export_run",
    "generate": "evaluation.generation",
    "generate_samples": "evaluation.generation",
    "get_cell": "cells.loader",
    "inspect": "inspection.inspect_run",
    "list_cells": "models.catalog",
    "load_comparison": "comparison.finished",
    "load_corpus": "data.corpus",
    "load_metrics": "runs.scalars",
    "load_run": "runs.run",
    "probe": "probes.batch",
    "register_cell": "cells.base",
    "render_report": "reporting.tables.render",
    "reproduce": "reproduction.reproduce",
    "train": "training.session",
    "verify": "runs.verification",
}


def __getattr__(name: str) -> Any:
    """Import a public name (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'charlm' has no attribute {name!r}")
    value = getattr(import_module(f"charlm.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
