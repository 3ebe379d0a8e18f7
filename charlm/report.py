"""Reports of runs -> the table of a comparison and its curves. Only arithmetic: no torch."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

Report = dict[str, Any]
Curve = list[tuple[float, float]]


def spread(values: list[float | None]) -> dict[str, Any]:
    """Mean, lowest and highest over seeds; all None where a seed has no result."""
    whole = [value for value in values if value is not None]
    if len(whole) < len(values) or not whole:
        return {"mean": None, "low": None, "high": None, "per_seed": values}
    return {"mean": fmean(whole), "low": min(whole), "high": max(whole), "per_seed": values}


def row(reports: list[Report], parameters: int) -> Report:
    """What a cell's runs, one a seed, have shown together."""
    first = reports[0]
    done = [report for report in reports if report["score"]]
    return {
        "cell": first["cell"],
        "hidden": first["hidden"],
        "layers": first["layers"],
        "parameters": first["parameters"],
        "residual": first["parameters"] / parameters - 1,
        "state_size": first["state_size"],
        "bits_per_char": spread(
            [report["score"] and report["score"]["bits_per_char"] for report in reports]
        ),
        "bits_per_byte": spread(
            [report["score"] and report["score"]["bits_per_byte"] for report in reports]
        ),
        "seeds": [report["seed"] for report in reports],
        "diverged": len(reports) - len(done),
        "chars_per_second": fmean(r["chars_per_second"] for r in done) if done else None,
        "minutes": fmean(r["seconds"] for r in done) / 60 if done else None,
    }


def unit_of(rows: list[Report]) -> str:
    """What rows are ranked by: bytes that are not UTF-8 have no characters to be divided by."""
    characters = any(bits is not None for r in rows for bits in r["bits_per_char"]["per_seed"])
    return "bits_per_char" if characters else "bits_per_byte"


def ranked(rows: list[Report]) -> list[Report]:
    """Best first, with the difference to the best, and a word for what the seeds carry.

    "behind": every seed is worse than every seed of the best. "unclear": the ranges of the
    two meet. With few seeds either is a description of these runs, not a test.
    """
    unit = unit_of(rows)
    rows = sorted(rows, key=lambda r: (r[unit]["mean"] is None, r[unit]["mean"] or 0.0))
    best = rows[0][unit]
    for place, one in enumerate(rows):
        bits = one[unit]
        apart = None if bits["mean"] is None else bits["mean"] - best["mean"]
        if apart is None:
            word = "diverged"
        elif place == 0:
            word = "best"
        elif bits["low"] > best["high"] and len(bits["per_seed"]) > 1:
            word = "behind"
        else:
            word = "unclear"
        one["difference"], one["verdict"] = apart, word
    return rows


def curve(run: Path) -> Curve:
    """(million characters read, quick validation bits) of a run, in order."""
    metrics = run / "metrics.jsonl"  # a run that diverged at once has none
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    records = (json.loads(line) for line in lines if "valid_bits" in line)
    return [(record["characters"] / 1e6, record["valid_bits"]) for record in records]


def draw_curves(curves: dict[str, list[Curve]], title: str) -> bytes:
    """Learning curves, cell -> one a seed, as a PNG: thin lines are seeds, thick their mean."""
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    lowest = []
    for number, (cell, seeds) in enumerate(curves.items()):
        name = cell.replace("$", r"\$")  # in the name of a person's file it is no formula
        color = f"C{number}"
        drawn = [one for one in seeds if one]
        for one in drawn:
            axes.plot(*zip(*one, strict=True), color=color, linewidth=0.6, alpha=0.5)
        together = [(p[0][0], fmean(bits for _, bits in p)) for p in zip(*drawn, strict=False)]
        if together:
            axes.plot(*zip(*together, strict=True), color=color, linewidth=2, label=name)
            lowest += [together[-1][1], together[len(together) // 5][1]]
    if lowest:  # the first validations are of an untrained model: they would flatten all the rest
        axes.set_ylim(min(lowest) - 0.1, max(lowest) + 0.4)
        axes.legend()
    axes.set_xlabel("million characters read")
    axes.set_ylabel("bits per character, quick validation")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()
