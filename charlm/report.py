"""Reports of runs -> the rows of a comparison and its curves. Only arithmetic: no torch."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from charlm.verdict import Verdict, compute_verdicts

Report = dict[str, Any]


class ValidationPoint(NamedTuple):
    """A quick look at the validation split: what was read by then, how long that took, the bits."""

    characters: int
    seconds: float
    bits: float


ValidationCurve = list[ValidationPoint]


def mean_and_range(values: list[float | None]) -> dict[str, Any]:
    """Mean, lowest and highest over seeds; all None where a seed has no result."""
    whole = [value for value in values if value is not None]
    if len(whole) < len(values) or not whole:
        return {"mean": None, "low": None, "high": None, "per_seed": values}
    return {"mean": fmean(whole), "low": min(whole), "high": max(whole), "per_seed": values}


def summarize_cell(name: str, reports: Sequence[Report], residual: float) -> Report:
    """What a cell's runs, one a seed, have shown together under this name; residual: how far it
    misses what is equal."""
    first = reports[0]
    done = [report for report in reports if report["score"]]
    return {
        "cell": name,
        "hidden": first["hidden"],
        "layers": first["layers"],
        "parameters": first["parameters"],
        "residual": residual,
        "state_size": first["state_size"],
        "flops_per_character": first["flops_per_character"],
        "bits_per_char": mean_and_range(
            [report["score"] and report["score"]["bits_per_char"] for report in reports]
        ),
        "bits_per_byte": mean_and_range(
            [report["score"] and report["score"]["bits_per_byte"] for report in reports]
        ),
        "seeds": [report["seed"] for report in reports],
        "diverged": len(reports) - len(done),
    }


def summarize_timing(reports: Sequence[Report]) -> Report:
    """What a cell's runs took on the clock, the mean of those that came to the end."""
    done = [report for report in reports if report["score"]]
    return {
        "seconds_per_million": fmean(1e6 / r["chars_per_second"] for r in done) if done else None,
        "minutes": fmean(r["seconds"] for r in done) / 60 if done else None,
    }


def score_unit(rows: list[Report]) -> str:
    """What rows are ordered by: bytes that are not UTF-8 have no characters to be divided by."""

    def known(unit: str) -> bool:
        return any(bits is not None for row in rows for bits in row[unit]["per_seed"])

    bytes_only = known("bits_per_byte") and not known("bits_per_char")
    return "bits_per_byte" if bytes_only else "bits_per_char"


def sort_rows(rows: list[Report]) -> list[Report]:
    """Lowest mean first, of equals by name, those without one last; the order is no verdict."""
    unit = score_unit(rows)
    return sorted(rows, key=lambda r: (r[unit]["mean"] is None, r[unit]["mean"] or 0.0, r["cell"]))


def compute_report_verdicts(
    reports: Mapping[str, Sequence[Report]], baseline: str, margin: float
) -> tuple[dict[str, Verdict], int]:
    """cell -> what its runs, one a seed, say beside the baseline's; and by how many blocks of text.

    What a run that diverged would have scored is infinite.
    """
    scores = [one["score"] for of in reports.values() for one in of if one["score"]]
    lengths = np.array(scores[0]["block_lengths"] if scores else [1])
    lost = np.full(len(lengths), np.inf)
    bits = {
        cell: np.array([one["score"]["block_bits"] if one["score"] else lost for one in of])
        for cell, of in reports.items()
    }
    seeds, diverged = len(bits[baseline]), int(np.isinf(bits[baseline][:, 0]).sum())
    word = f"diverged {diverged} of {seeds}" if diverged else "baseline"
    beside = compute_verdicts(bits, lengths, baseline, margin)
    return {**beside, baseline: Verdict(verdict=word)}, len(lengths) if scores else 0


def load_validation_curve(run: Path) -> ValidationCurve:
    """The quick looks at the validation split of a run, in order."""
    metrics, events = (_lines(run / f"{name}.jsonl") for name in ("metrics", "events"))
    seconds = {one["update"]: one["seconds"] for one in events if one["event"] == "validated"}
    return [
        ValidationPoint(one["characters"], seconds[one["update"]], one["valid_bits"])
        for one in metrics
        if "valid_bits" in one and one["update"] in seconds
    ]


def _lines(path: Path) -> Iterator[Any]:
    """Of a log, but for those that a kill has torn; a run that diverged at once has none."""
    lines = path.read_text().splitlines() if path.exists() else []
    return (json.loads(line) for line in lines if line.endswith("}"))
