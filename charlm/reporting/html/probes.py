"""The page of probed runs: whatever the probes are, each is drawn from what it found."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from charlm.reporting.figures import Figure, FigureSpec, Series, draw_figure, make_legend
from charlm.reporting.formatting import format_number
from charlm.reporting.html import page
from charlm.reporting.html.numbers import Found, Row, group_runs, scalar_table, scalars_by_run

Curve = dict[str, Any]  # a charlm.probe.Curve as a report has it


class ProbeSection(NamedTuple):
    """A probe: what it asked, and all that it found."""

    name: str
    question: str
    chance: str
    told: list[tuple[str, str]]
    drawn: list[Figure]
    numbers: tuple[Row, list[Row]]  # heads and rows: a column for each cell
    by_run: tuple[Row, list[Row]] | None  # the same for each run, where cells have more than one
    silent: list[tuple[str, str]]  # runs, and why it cannot be measured there
    notes: list[tuple[str, str]]  # whose each is, "" of all of them, and what it says


def render(report: dict[str, Any]) -> bytes:
    """The page of a report of `charlm probe`."""
    runs, text = report["runs"], report["text"]
    looks = make_legend([run["cell"] for run in runs])
    return page.render_template(
        "probes.html",
        report=report,
        runs=runs,
        looks=looks,
        sections=[probe_section(name, one, runs) for name, one in report["probes"].items()],
        heads=["run", "cell", "layers", "units", "parameters", "state", "bits/char", "weights"],
        rows=[
            [
                run["name"],
                run["cell"],
                str(run["num_layers"]),
                str(run["hidden_size"]),
                format_number(run["parameters"]),
                format_number(run["state_size"]),
                "–" if run["bits_per_char"] is None else f"{run['bits_per_char']:.4f}",
                run["weights_sha256"][:16] + "…",
            ]
            for run in runs
        ],
        text=[
            ("text", f"{text['characters']:,} {text['symbols']} of {text['split']}"),
            ("its SHA-256", text["text_sha256"]),
            ("corpus", text["corpus_sha256"]),
        ],
    )


def probe_section(name: str, one: dict[str, Any], runs: Sequence[dict[str, Any]]) -> ProbeSection:
    """All there is to say of one probe."""
    found = {run: what for run, what in one["found"].items() if "not_measurable" not in what}
    cells = {run["name"]: run["cell"] for run in runs}
    of = scalars_by_run(found)
    groups = group_runs(of, cells)
    told = [(key, one[key]) for key in ("protocol", "unit", "source")]
    return ProbeSection(
        name,
        one["question"],
        one["chance"],
        [*told, ("time", f"{sum(one['seconds'].values()):.1f} seconds")],
        figures(name, found, cells),
        scalar_table(of, groups),
        scalar_table(of, {run: [run] for run in of}) if len(groups) < len(of) else None,
        not_measurable_notes(one["found"]),
        grouped_notes(group_runs(found, cells), found),
    )


def not_measurable_notes(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Runs, and why it cannot be measured there; nobody's name where all are silent alike."""
    why: dict[str, list[str]] = {}
    for run, one in found.items():
        if "not_measurable" in one:
            why.setdefault(one["not_measurable"], []).append(run)
    return [
        ("" if len(runs) == len(found) else ", ".join(runs), said) for said, runs in why.items()
    ]


def grouped_notes(groups: dict[str, list[str]], found: dict[str, Found]) -> list[tuple[str, str]]:
    """Each note once, and of which cells it is if not of all."""
    of: dict[str, list[str]] = {}
    for cell, runs in groups.items():
        for note in dict.fromkeys(note for run in runs for note in found[run]["notes"]):
            of.setdefault(note, []).append(cell)
    return [("" if len(c) == len(groups) else ", ".join(c), note) for note, c in of.items()]


def figures(name: str, found: dict[str, Found], cells: dict[str, str]) -> list[Figure]:
    """Of one run, all curves with the same axes in one figure; of several, a figure for each curve,
    with the runs of a cell in one colour. What a group was asked has a curve for each run."""
    panels: dict[tuple[str, str, str], list[tuple[str, Curve]]] = {}
    axes: dict[tuple[str, str, str], tuple[bool, bool, float | None]] = {}
    for run, whole in found.items():
        for one in (whole, *whole["more"]):
            panel = one["title"], one["x"], one["y"]
            axes.setdefault(panel, (one["log_x"], one["log_y"], one["chance"]))
            panels.setdefault(panel, []).extend((run, curve) for curve in one["curves"])
    drawn: list[Figure] = []
    for (title, x, y), those in panels.items():
        for curve_name, curves in split_by_curve(those, several=len(found) > 1).items():
            said = ": ".join(part for part in (title, curve_name) if part)
            plan = FigureSpec(said, x, y, *axes[title, x, y])
            drawn += make_figure(f"{name}-{len(drawn)}", plan, curves, cells)
    return drawn


def split_by_curve(
    those: Sequence[tuple[str, Curve]], several: bool
) -> dict[str, list[tuple[str, Curve]]]:
    """Run and curve -> for each figure its title, and whose each curve is.

    A curve that all runs have alike, such as that of a baseline, stands in each figure.
    """
    if not several:
        return {"": [(curve["name"] or run, curve) for run, curve in those]}
    by_name: dict[str, list[tuple[str, Curve]]] = {}
    for run, curve in those:
        by_name.setdefault(curve["name"], []).append((run, curve))
    alike = {
        name: curves[0][1]
        for name, curves in by_name.items()
        if name and len(curves) > 1 and all(curve == curves[0][1] for _, curve in curves)
    }
    own = {name: curves for name, curves in by_name.items() if name not in alike}
    return {name: [*curves, *alike.items()] for name, curves in own.items()} or by_name


def make_figure(
    name: str, plan: FigureSpec, curves: Sequence[tuple[str, Curve]], cells: dict[str, str]
) -> list[Figure]:
    """Drawn, if there is anything to draw; its key says what the page's does not."""
    lines = [
        Series(
            whose,
            cells.get(whose, whose),
            curve["x"],
            curve["y"],
            error_band(curve),
            value_labels(curve),
        )
        for whose, curve in curves
        if any(y is not None for y in curve["y"])
    ]
    if not lines:
        return []
    looks = make_legend([*cells.values(), *(line.group for line in lines)])
    groups = {line.group for line in lines}
    said = set(cells.values()) if len(cells) > 1 or len(groups) == 1 else set()
    key = [look for look in looks if look.group in groups - said]
    return [draw_figure(name, plan, lines, looks)._replace(key=key)]


def error_band(curve: Curve) -> tuple[list[float | None], list[float | None]] | None:
    """One standard error below and above."""
    if curve["error"] is None:
        return None
    points = list(zip(curve["y"], curve["error"], strict=True))
    low, high = (
        [None if None in point else point[0] + sign * point[1] for point in points]
        for sign in (-1, 1)
    )
    return low, high


def value_labels(curve: Curve) -> list[str]:
    """Each point, with its standard error and the number of events behind it if it has them."""
    said = [format_number(y) for y in curve["y"]]
    if curve["error"] is not None:
        errors = curve["error"]
        said = [
            s if e is None else f"{s} ± {format_number(e)}"
            for s, e in zip(said, errors, strict=True)
        ]
    if curve["count"] is not None:
        said = [f"{s} ({count:,})" for s, count in zip(said, curve["count"], strict=True)]
    return said
