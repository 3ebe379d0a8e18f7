"""Rules of the operators of PyTorch that move numbers and compute nothing."""

from collections.abc import Callable, Sequence
from typing import Any

from charlm.exporting.graph_builder import GraphBuilder, UnsupportedStep, Value

Rule = Callable[..., Any]  # (builder, *arguments of the operator) -> Value, or a list of them


def same(b: GraphBuilder, x: Value, **_: Any) -> Value:
    """Return the tensor itself."""
    del b
    return x


def unsqueeze(b: GraphBuilder, x: Value, axis: int) -> Value:
    """Insert an axis of size 1."""
    axis %= len(x.shape) + 1
    return b.reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


def squeeze(b: GraphBuilder, x: Value, axes: Sequence[int] | int | None = None) -> Value:
    """Remove axes of size 1."""
    given = range(len(x.shape)) if axes is None else (axes,) if isinstance(axes, int) else axes
    dropped = {axis % len(x.shape) for axis in given}
    return b.reshape(x, [n for a, n in enumerate(x.shape) if a not in dropped or n != 1])


def transpose(b: GraphBuilder, x: Value, first: int, second: int) -> Value:
    """Exchange two axes."""
    axes = list(range(len(x.shape)))
    axes[first], axes[second] = axes[second], axes[first]
    return b.transpose(x, axes)


def slice_axis(
    b: GraphBuilder,
    x: Value,
    axis: int = 0,
    start: int | None = None,
    stop: int | None = None,
    step: int = 1,
) -> Value:
    """Slice along one axis."""
    if step != 1:
        raise UnsupportedStep("it slices a tensor with a stride")
    return b.slice(x, axis, start or 0, x.shape[axis] if stop is None else stop)


def select(b: GraphBuilder, x: Value, axis: int, index: int) -> Value:
    """Take one index of an axis."""
    axis %= len(x.shape)
    index %= x.shape[axis]
    part = b.slice(x, axis, index, index + 1)
    return b.reshape(part, (*x.shape[:axis], *x.shape[axis + 1 :]))


def split_with_sizes(b: GraphBuilder, x: Value, sizes: Sequence[int], axis: int = 0) -> list[Value]:
    """Split into parts of these sizes."""
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    return [b.slice(x, axis, end - size, end) for end, size in zip(ends, sizes, strict=True)]


def split(b: GraphBuilder, x: Value, size: int, axis: int = 0) -> list[Value]:
    """Split into parts of one size; the last may be smaller."""
    width = x.shape[axis]
    return [b.slice(x, axis, at, min(at + size, width)) for at in range(0, width, size)]


def roll(b: GraphBuilder, x: Value, shifts: Sequence[int], axes: Sequence[int] = ()) -> Value:
    """Shift along axes; what leaves at one end enters at the other."""
    if not axes:
        raise UnsupportedStep("it rolls a tensor without naming an axis")
    for shift, axis in zip(shifts, axes, strict=True):
        at = -shift % x.shape[axis]
        x = b.concat([b.slice(x, axis, at, x.shape[axis]), b.slice(x, axis, 0, at)], axis)
    return x


def pad(b: GraphBuilder, x: Value, pad: Sequence[int], value: float = 0) -> Value:
    """Add numbers at the ends of the last axes."""
    for number in range(len(pad) // 2):
        axis, sizes = len(x.shape) - 1 - number, pad[2 * number : 2 * number + 2]
        if min(sizes) < 0:
            raise UnsupportedStep("it pads a tensor by a negative number")
        filler = [
            b.emit(
                "constant",
                (),
                (*x.shape[:axis], size, *x.shape[axis + 1 :]),
                x.kind,
                values=(float(value),),
            )
            for size in sizes
        ]
        x = b.concat([filler[0], x, filler[1]], axis)
    return x


def index(b: GraphBuilder, x: Value, indices: Sequence[Value | None]) -> Value:
    """Take rows by one tensor of indices."""
    given = [(axis, index) for axis, index in enumerate(indices) if index is not None]
    if len(given) != 1 or given[0][1].kind != "int":
        raise UnsupportedStep("it indexes a tensor by several tensors, or by truth values")
    return b.take(x, given[0][1], given[0][0])


def stack(b: GraphBuilder, parts: Sequence[Value], axis: int = 0) -> Value:
    """Join tensors along a new axis."""
    return b.concat([unsqueeze(b, part, axis) for part in parts], axis)


def unbind(b: GraphBuilder, x: Value, axis: int = 0) -> list[Value]:
    """Split an axis into its indices."""
    return [select(b, x, axis, index) for index in range(x.shape[axis])]


SHAPE_RULES: dict[str, Rule] = {
    **dict.fromkeys(("alias", "detach", "clone", "lift_fresh", "lift_fresh_copy"), same),
    **dict.fromkeys(("view", "_unsafe_view"), GraphBuilder.reshape),
    "unsqueeze": unsqueeze,
    "squeeze": squeeze,
    "transpose": transpose,
    "t": lambda b, x: b.transpose(x, range(len(x.shape))[::-1]),
    "permute": GraphBuilder.transpose,
    "expand": lambda b, x, shape, **_: b.broadcast(x, shape),
    "slice": slice_axis,
    "select": select,
    "split": split,
    "split_with_sizes": split_with_sizes,
    "unbind": unbind,
    "cat": lambda b, parts, axis=0: b.concat(parts, axis),
    "stack": stack,
    "roll": roll,
    "constant_pad_nd": pad,
    "index": index,
    "index_select": lambda b, x, axis, ids: b.take(x, ids, axis),
    "embedding": lambda b, table, ids, *_: b.take(table, ids, 0),
}
