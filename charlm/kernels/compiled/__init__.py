"""Compiler from a cell's `step` to C, with its gradient.

trace: runs `step` on symbols and records a graph; autodiff: differentiates the graph; codegen:
writes both as C; compiler: builds and caches a library; runtime: the kernel that calls it.
"""
