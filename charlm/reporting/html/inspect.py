"""The page of an inspected run: values become shades, a shade a class of the page's style."""

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from charlm.console import escape_control_characters
from charlm.reporting.html import page

WIDTH = 32  # characters of a block, which fit side by side on a telephone
SHADES = 10
MAX_SHADED_BITS = 8.0  # bits: what costs more is shown no stronger
GLYPHS = {" ": "\xa0", "\n": "↵", "\t": "→"}


class CharacterView(NamedTuple):
    """A character: what is written, its shade and what it cost, in words."""

    glyph: str
    shade: str
    cost: str
    ends: bool  # the line


class HeatmapRow(NamedTuple):
    """A letter's cells under a block: shade and value of each."""

    letter: str
    says: str
    cells: list[tuple[str, str]]


class UnitView(NamedTuple):
    title: str
    tracks: list[str]
    forgets: str  # where it does so always alike
    scales: list[tuple[str, str]]  # letters on both sides of 0, and the value of the strongest
    blocks: list[tuple[Sequence[CharacterView], list[HeatmapRow]]]


class SaturationPlot(NamedTuple):
    """Of a gate, where its units lie between shut and open: percent of time."""

    title: str
    says: str
    places: list[tuple[int, int]]
    shut: int  # units that are so most of the time
    open: int
    units: int


def render(told: dict[str, Any]) -> bytes:
    """The page of what an inspection found, as builtins."""
    text = [
        character(*one) for one in zip(told["symbols"], told["unseen"], told["bits"], strict=True)
    ]
    survey = told["survey"] or {"trackers": [], "absent": [], "saturation": [], "symbols": {}}
    units = [unit(one, text, survey["trackers"]) for one in told["units"]]
    layers = sum(len(one["num_layers"]) for one in told["equations"])
    letters = {row["letter"]: row["says"] for one in told["units"] for row in one["rows"]}
    return page.render_template(
        "inspect.html",
        told=told,
        each=told["kind"].removesuffix("s"),
        bits=sum(told["bits"]) / len(told["bits"]),
        strongest=MAX_SHADED_BITS,
        shades=SHADES,
        ramps={
            "cost": [f"s{n}" for n in range(SHADES + 1)],
            "gate": [f"g{n}" for n in range(SHADES + 1)],
            "signed": [f"n{n}" for n in range(SHADES, 0, -1)]
            + [f"p{n}" for n in range(SHADES + 1)],
        },
        cells=[(one["num_layers"], paragraphs(one["written"])) for one in told["equations"]],
        width=WIDTH,
        names=1 + max(map(len, letters)),
        text=text,
        units=units,
        letters=letters,
        survey=survey,
        trackers=[
            [
                one["landmark"],
                f"layer {one['layer']}, unit {one['unit']}",
                one["letter"],
                format_signed(one["found"]),
                format_signed(one["score"]),
            ]
            for one in survey["trackers"]
        ],
        gates=[saturation_plot(one, layers) for one in survey["saturation"]],
    )


def paragraphs(written: str) -> list[list[tuple[str, str]]]:
    """Of a cell's docstring: lines of equations with their remarks, or prose, which has none."""
    found = []
    for paragraph in written.split("\n\n"):
        lines = paragraph.split("\n")
        if re.match(r"\S+(, \S+)* = ", lines[0]):
            parts = [re.split(r" {3,}", line.strip(), maxsplit=1) for line in lines]
            found.append([(equation, " ".join(remark)) for equation, *remark in parts])
        else:
            found.append([("", " ".join(lines))])
    return found


def character(symbol: str, unseen: bool, bits: float) -> CharacterView:
    shade = f"s{round(SHADES * min(1.0, bits / MAX_SHADED_BITS))}" + (" new" if unseen else "")
    cost = f"{bits:.2f} bits" + (", never seen in training" if unseen else "")
    return CharacterView(
        GLYPHS.get(symbol, escape_control_characters(symbol)), shade, cost, symbol == "\n"
    )


def unit(
    told: dict[str, Any], text: Sequence[CharacterView], trackers: Sequence[dict[str, Any]]
) -> UnitView:
    strips, scales = [], []
    for row in told["rows"]:
        scale = 1.0
        if row["kind"] == "signed":
            scale = max(map(abs, row["values"])) or 1.0
            scales.append((row["letter"], f"{scale:.2g}"))
        cells = [
            (shade_class(value / scale, row["kind"]), f"{value:.2f}") for value in row["values"]
        ]
        strips.append(HeatmapRow(row["letter"], row["says"], cells))
    return UnitView(
        f"Layer {told['layer']}, unit {told['unit']}",
        [
            f"{one['landmark']} ({format_signed(one['score'])} elsewhere)"
            for one in trackers
            if (one["layer"], one["unit"]) == (told["layer"], told["unit"])
        ],
        describe_retention(told["kept"]),
        scales,
        [
            (
                text[at : at + WIDTH],
                [strip._replace(cells=strip.cells[at : at + WIDTH]) for strip in strips],
            )
            for at in range(0, len(text), WIDTH)
        ],
    )


def describe_retention(kept: float | None) -> str:
    """What a share that is always kept comes to; "" where it is a gate's."""
    if kept is None:
        return ""
    if kept >= 1:
        return "It does not forget."
    return f"It forgets in about {-1 / math.log(max(kept, 1e-9)):.3g} characters, always alike."


def shade_class(share: float, kind: str) -> str:
    """The class of a share from -1 to 1: g0 to g10 of a gate, n10 to n0 and p0 to p10 else."""
    level = round(SHADES * min(1.0, abs(share)))
    return f"g{level}" if kind == "gate" else f"n{level}" if share < 0 else f"p{level}"


def format_signed(share: float) -> str:
    return f"{share:+.2f}".replace("-", "−")


def saturation_plot(told: dict[str, Any], layers: int) -> SaturationPlot:
    low, high = told["low"], told["high"]
    places = {(round(100 * x), round(100 * y)) for x, y in zip(low, high, strict=True)}
    layer = f", layer {told['layer']}" if layers > 1 else ""
    shut, open_ = (sum(share > 0.5 for share in shares) for shares in (low, high))
    return SaturationPlot(
        told["letter"] + layer, told["says"], sorted(places), shut, open_, len(low)
    )
