"""Kernels: ways to unroll a cell over time, each checked against the plain loop in `loop.py`."""
