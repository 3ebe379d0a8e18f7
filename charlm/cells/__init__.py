"""The zoo: one file a cell, named like it; importing this package registers them all."""

from importlib import import_module

from charlm.config import CELL_NAMES

for name in CELL_NAMES:
    import_module(f"charlm.cells.{name.replace('-', '_')}")
