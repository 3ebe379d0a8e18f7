"""TODO docstring."""

from collections.abc import Callable

ProgressCallback = Callable[[int], object]  # is told of every stretch of bytes that was read
