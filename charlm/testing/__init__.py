"""Conformance checks for cells and kernels, which a user's own cell must pass too."""
