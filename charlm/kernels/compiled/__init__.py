"""Compiler from a cell's `step` to C, with its gradient.

symbols, trace: run `step` on symbols and record a graph; shapes, memory: symbols of several
dimensions, and of a matrix for each head; autodiff: differentiates the graph; codegen, c_text,
c_file, memory_c, memory_back_c: write both as C; compiler: builds and caches a library; runtime:
the kernel that calls it; single_token: a step of one stream, also of a whole model.

selective_scan: the recurrence of Mamba, in C that is written by hand.
"""
