"""Recurrent cells: the base class, and one file per cell, imported on first use of the cell."""
