"""Names that stand at the lines of a figure, and do not overlap."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from charlm.console import escape_control_characters

MAX_NAME = 18  # letters of a name in a figure
LABEL_SIZE = 13  # of the letters, in points
LABEL_DISTANCE = 15  # of two names, in points


class LineLabel(NamedTuple):
    """A name to be written at the right end of a line, in data coordinates."""

    name: str
    color: str
    x: float
    y: float


def short_label(name: str) -> str:
    """Return a name that has room in a figure; the middle of a long one is left out."""
    name = escape_control_characters(name)
    half = MAX_NAME // 2
    return name if len(name) <= MAX_NAME else f"{name[: half - 1]}…{name[-half:]}"


def spread_labels(positions: Sequence[float], distance: float, bottom: float) -> list[float]:
    """Return positions near these that are at least so far apart, and not below the bottom.

    Positions grow downwards.
    """
    order = sorted(range(len(positions)), key=lambda number: positions[number])
    placed = list(positions)
    for before, number in zip(order, order[1:], strict=False):
        placed[number] = max(placed[number], placed[before] + distance)
    limit = bottom
    for number in reversed(order):  # those beyond the bottom push the others up
        placed[number] = min(placed[number], limit)
        limit = placed[number] - distance
    return placed


def write_labels(axes: Axes, labels: Sequence[LineLabel]) -> None:
    """Write names to the right of the axes, each as near to its line as the others allow.

    The limits of the axes must be final: heights are computed from them. Widths are not used, since
    the layout makes room for the names afterwards.
    """
    if not labels:
        return
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # applies the layout, which decides the heights
    height = axes.get_window_extent().height * 72 / figure.dpi  # in points
    low, high = (axes.transScale.transform((1, y))[1] for y in axes.get_ylim())
    downwards = [
        height * (high - axes.transScale.transform((1, label.y))[1]) / (high - low)
        for label in labels
    ]
    for label, wanted, at in zip(
        labels, downwards, spread_labels(downwards, LABEL_DISTANCE, height), strict=True
    ):
        axes.annotate(
            short_label(label.name),
            xy=(1, label.y),
            xycoords=axes.get_yaxis_transform(),
            xytext=(6, wanted - at),
            textcoords="offset points",
            color=label.color,
            fontsize=LABEL_SIZE,
            verticalalignment="center",
            annotation_clip=False,
        )
