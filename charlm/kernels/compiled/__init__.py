"""Compiler from a cell's `step` to C, with its gradient.

symbols, trace: run `step` on symbols and record a graph; autodiff: differentiates the graph;
codegen, c_text, c_file: write both as C; compiler: builds and caches a library; runtime: the kernel
that calls it; single_token: a step of one stream, also of a whole model.
"""
