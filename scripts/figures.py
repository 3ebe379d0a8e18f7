"""SVG files of the figures of a report, for pages without a style of their own.

python scripts/figures.py probes/report.json docs/explanation/memory
python scripts/figures.py comparison/report.json docs/explanation/comparison
"""

import argparse
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from markupsafe import escape

from charlm.reporting.figures import SIZE, Figure, LegendEntry, make_legend
from charlm.reporting.html.forest import forest_plots
from charlm.reporting.html.probes import probe_section
from charlm.reporting.html.tuning import tuning_section
from charlm.reporting.memory_figure import render_memory_svg
from charlm.reporting.wording.rows import cell_rows
from charlm.reporting.wording.text import token_noun
from charlm.results.comparison import ComparisonReport
from charlm.results.probes import ProbesReport
from charlm.storage import files
from charlm.storage.json_files import unseal_json

TEMPLATES = Path(__file__).parent.parent / "charlm" / "reporting" / "html" / "templates"
LEGEND_ROW_HEIGHT = 24  # pixels
LEGEND_COLUMNS = 5  # at most

NamedFigure = tuple[str, Figure, Sequence[LegendEntry]]  # name of the file, figure, its legend


def style() -> str:
    """Return the style of every page: light and dark colors, and the font."""
    page = (TEMPLATES / "base.html").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", page, re.S)
    dark = f"@media (prefers-color-scheme: dark) {{ :root {{{dark}}} }}"
    text = "svg { color: var(--ink); font: 12px system-ui, sans-serif }"
    return f"<style>:root {{{light}}} {dark} {text}</style>"


def standalone_svg(figure: Figure, legend: Sequence[LegendEntry]) -> str:
    """Return an SVG file: the figure, its legend above it, and its labels."""
    width, height = SIZE
    svg = str(figure.svg)
    inner = svg[svg.index(">") + 1 :].removesuffix("</svg>")
    rows = math.ceil(len(legend) / LEGEND_COLUMNS)
    columns = math.ceil(len(legend) / rows) if rows else 1
    top = rows * LEGEND_ROW_HEIGHT
    entries = []
    for number, entry in enumerate(legend):
        x = 8 + number % columns * (width - 16) // columns
        y = 10 + number // columns * LEGEND_ROW_HEIGHT
        dash = f' stroke-dasharray="{entry.dash}"' if entry.dash else ""
        entries.append(
            f'<path d="M{x} {y}h20" stroke="var(--line-{entry.color})" stroke-width="2"{dash}/>'
            f'<text x="{x + 26}" y="{y + 4}" fill="currentColor">{escape(entry.group)}</text>'
        )
    labels = f"{figure.spec.y}, against {figure.spec.x}"
    title = f"{figure.spec.title}: {labels}" if figure.spec.title else labels
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {top + height + LEGEND_ROW_HEIGHT}" width="{2 * width}" role="img">'
        f"<title>{escape(title)}</title>{style()}{''.join(entries)}"
        f'<g transform="translate(0 {top})">{inner}</g>'
        f'<text x="{width // 2}" y="{top + height + 16}" text-anchor="middle" '
        f'fill="currentColor">{escape(labels)}</text></svg>\n'
    )


def probe_figures(report: ProbesReport) -> Iterator[NamedFigure]:
    """Yield the figures of each probe."""
    legend = make_legend([run.cell for run in report.runs])
    for name, probe in report.probes.items():
        noun = token_noun(report.text.vocabulary_kind)
        for figure in probe_section(name, probe, report.runs, noun).figures:
            yield name, figure, [*legend, *figure.legend]


def comparison_figures(report: ComparisonReport) -> Iterator[NamedFigure]:
    """Yield the differences to the reference, and the figures of tuning."""
    legend = make_legend([row.name for row in cell_rows(report)])
    for figure in forest_plots(report, legend):
        yield "differences", figure, figure.legend or legend
    if report.tuning:
        for figure in tuning_section(report.tuning, legend).figures:
            yield "tuning", figure, figure.legend or legend


def write_figures(report: Path, directory: Path) -> list[Path]:
    """Write the figures of a report.json into a directory; return the files."""
    decoded = msgspec.json.decode(unseal_json(report.read_bytes(), report))
    memory = b""
    if "probes" in decoded:
        figures = probe_figures(msgspec.convert(decoded, ProbesReport))
    else:
        comparison = msgspec.convert(decoded, ComparisonReport)
        figures, memory = comparison_figures(comparison), render_memory_svg(comparison)
    files.make_directory(directory)
    paths: list[Path] = []
    if memory:
        paths.append(directory / "memory.svg")
        files.write_atomic(paths[-1], memory)
    counts: dict[str, int] = {}
    for name, figure, legend in figures:
        number = counts[name] = counts.get(name, -1) + 1
        title = "-".join(re.findall(r"\w+", figure.spec.title or figure.spec.y)).lower()
        paths.append(directory / f"{name}-{number}-{title}.svg")
        files.write_atomic(paths[-1], standalone_svg(figure, legend).encode())
    return paths


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path, help="report.json of a probing or a comparison")
    parser.add_argument("directory", type=Path, help="where the SVG files are written")
    arguments = parser.parse_args()
    for path in write_figures(arguments.report, arguments.directory):
        print(path)


if __name__ == "__main__":
    main()
