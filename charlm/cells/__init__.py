"""Recurrent cells: the base class, and one file per cell, imported when the cell is asked for."""
