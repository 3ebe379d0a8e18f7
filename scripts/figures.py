"""The figures of a report of `charlm probe`, a file each, for a page that has no style of its own.

python scripts/figures.py probes/report.json docs/memory
"""

import json
import re
import sys
from pathlib import Path

from markupsafe import escape

from charlm import durable
from charlm.figures import SIZE, Figure, Key, keys
from charlm.pages.probes import section

BASE = Path(__file__).parent.parent / "charlm" / "pages" / "base.html"
KEY = 24  # pixels above the figure, for whose its lines are


def style() -> str:
    """The colours of every page, light and dark, and letters."""
    page = BASE.read_text()
    light, dark = re.findall(r":root \{(.*?)\}", page, re.S)
    ink = "svg { color: var(--ink); font: 12px system-ui, sans-serif }"
    dark = f"@media (prefers-color-scheme: dark) {{ :root {{{dark}}} }}"
    return f"<style>:root {{{light}}} {dark} {ink}</style>"


def standing_alone(figure: Figure, looks: list[Key]) -> str:
    """An SVG file: the figure, what it shows, and whose its lines are."""
    width, height = SIZE
    inner = str(figure.svg)
    inner = inner[inner.index(">") + 1 :]
    said = []
    for place, look in enumerate(looks):
        x = 8 + place * (width - 16) // len(looks)
        dash = f' stroke-dasharray="{look.dash}"' if look.dash else ""
        said.append(
            f'<path d="M{x} 10h20" stroke="var(--line-{look.color})" stroke-width="2"{dash}/>'
            f'<text x="{x + 26}" y="14" fill="currentColor">{escape(look.family)}</text>'
        )
    names = escape(f"{figure.plan.title}: {figure.plan.y}, against {figure.plan.x}")
    axes = escape(f"{figure.plan.y}, against {figure.plan.x}")
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height + 2 * KEY}" width="{2 * width}" role="img">'
        f"<title>{names}</title>{style()}{''.join(said)}"
        f'<g transform="translate(0 {KEY})">{inner.removesuffix("</svg>")}</g>'
        f'<text x="{width // 2}" y="{height + KEY + 16}" text-anchor="middle" '
        f'fill="currentColor">{axes}</text></svg>\n'
    )


def main(report: Path, place: Path) -> None:
    told = json.loads(report.read_text())
    durable.make_directory(place)
    looks = keys([run["cell"] for run in told["runs"]])
    for name, one in told["probes"].items():
        for number, figure in enumerate(section(name, one, told["runs"]).drawn):
            said = "-".join(re.findall(r"\w+", figure.plan.title or figure.plan.y)).lower()
            path = place / f"{name}-{number}-{said}.svg"
            durable.write_file(path, standing_alone(figure, [*looks, *figure.key]).encode())
            print(path)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
