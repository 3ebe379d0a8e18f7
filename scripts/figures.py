"""The figures of a report of `charlm probe` or `charlm compare-cells`, a file each, for a page that
has no style of its own.

python scripts/figures.py probes/report.json docs/memory
python scripts/figures.py comparison/report.json docs/comparison
"""

import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from markupsafe import escape

from charlm.reporting.figures import SIZE, Figure, LegendEntry, make_legend
from charlm.reporting.html.comparison import difference_figures
from charlm.reporting.html.probes import probe_section
from charlm.reporting.html.tuning import tuning_section as tuned
from charlm.storage import files

BASE = Path(__file__).parent.parent / "charlm" / "reporting" / "html" / "templates" / "base.html"
KEY = 24  # pixels above the figure for a row of whose its lines are,
ROW = 5  # so many in each


def style() -> str:
    """The colours of every page, light and dark, and letters."""
    page = BASE.read_text()
    light, dark = re.findall(r":root \{(.*?)\}", page, re.S)
    ink = "svg { color: var(--ink); font: 12px system-ui, sans-serif }"
    dark = f"@media (prefers-color-scheme: dark) {{ :root {{{dark}}} }}"
    return f"<style>:root {{{light}}} {dark} {ink}</style>"


def standing_alone(figure: Figure, looks: Sequence[LegendEntry]) -> str:
    """An SVG file: the figure, what it shows, and whose its lines are."""
    width, height = SIZE
    inner = str(figure.svg)
    inner = inner[inner.index(">") + 1 :]
    rows = math.ceil(len(looks) / ROW)
    columns = math.ceil(len(looks) / rows)
    said = []
    for place, look in enumerate(looks):
        x = 8 + place % columns * (width - 16) // columns
        y = 10 + place // columns * KEY
        dash = f' stroke-dasharray="{look.dash}"' if look.dash else ""
        said.append(
            f'<path d="M{x} {y}h20" stroke="var(--line-{look.color})" stroke-width="2"{dash}/>'
            f'<text x="{x + 26}" y="{y + 4}" fill="currentColor">{escape(look.group)}</text>'
        )
    names = escape(f"{figure.plan.title}: {figure.plan.y}, against {figure.plan.x}")
    axes = escape(f"{figure.plan.y}, against {figure.plan.x}")
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height + (rows + 1) * KEY}" width="{2 * width}" role="img">'
        f"<title>{names}</title>{style()}{''.join(said)}"
        f'<g transform="translate(0 {rows * KEY})">{inner.removesuffix("</svg>")}</g>'
        f'<text x="{width // 2}" y="{height + rows * KEY + 16}" text-anchor="middle" '
        f'fill="currentColor">{axes}</text></svg>\n'
    )


Drawn = Iterator[tuple[str, list[Figure]]]


def of_probes(told: dict[str, Any]) -> Drawn:
    """name -> its figures."""
    for name, one in told["probes"].items():
        yield name, probe_section(name, one, told["runs"]).drawn


def of_comparison(told: dict[str, Any], looks: list[LegendEntry]) -> Drawn:
    yield "differences", difference_figures(told, looks)
    if told["tuning"]:
        yield "tuning", tuned(told["tuning"], looks).drawn


def main(report: Path, place: Path) -> None:
    told = json.loads(report.read_text())
    files.make_directory(place)
    looks = make_legend([one["cell"] for one in told["runs" if "probes" in told else "rows"]])
    every = of_probes(told) if "probes" in told else of_comparison(told, looks)
    for name, drawn in every:
        for number, figure in enumerate(drawn):
            said = "-".join(re.findall(r"\w+", figure.plan.title or figure.plan.y)).lower()
            path = place / f"{name}-{number}-{said}.svg"
            shown = figure.key if "probes" not in told and figure.key else [*looks, *figure.key]
            files.write_atomic(path, standing_alone(figure, shown).encode())
            print(path)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
