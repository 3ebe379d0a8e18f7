"""From a cell's equations to a walk through time with its own backward pass.

trace: a step becomes a graph; adjoint: what the graph's gradient is; emit: both as C; build: C as
a library; walk: the library, or the graph itself, as one differentiable operation on a whole text.
"""
