"""Reports of runs -> the rows of a comparison and its curves. Only arithmetic: no torch."""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import msgspec
import numpy as np

from charlm.comparison.plan import PlannedRun, shared_settings
from charlm.comparison.samples import cached_sample
from charlm.comparison.verdicts import SIGNIFICANCE_LEVEL, Verdict, compute_verdicts
from charlm.config import FORMAT_VERSION
from charlm.errors import DataError
from charlm.evaluation.baselines import Baseline
from charlm.evaluation.scoring import STREAMING_PROTOCOL
from charlm.reporting.html import comparison
from charlm.results.comparison import Report
from charlm.results.run import RunRecord
from charlm.runs.run import Run
from charlm.storage import files
from charlm.storage.json_files import encode_json


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
        "hidden_size": first["hidden_size"],
        "num_layers": first["num_layers"],
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
    seconds = {one["step"]: one["seconds"] for one in events if one["event"] == "validated"}
    return [
        ValidationPoint(one["characters"], seconds[one["step"]], one["valid_bits"])
        for one in metrics
        if "valid_bits" in one and one["step"] in seconds
    ]


def _lines(path: Path) -> Iterator[Any]:
    """Of a log, but for those that a kill has torn; a run that diverged at once has none."""
    lines = path.read_text().splitlines() if path.exists() else []
    return (json.loads(line) for line in lines if line.endswith("}"))


RunsByCell = Mapping[str, Sequence[PlannedRun]]  # what a cell is called -> its runs, one a seed


class ComparedRuns(NamedTuple):
    """Runs side by side, and what is equal among them."""

    runs: RunsByCell
    equal: Report  # for report.json
    residual: Mapping[str, float]  # by what share each misses it
    differ: Report | None = None  # of runs that were there before: setting -> name -> what it is


class VerdictSettings(NamedTuple):
    """By what verdicts are found."""

    baseline: str  # the cell that others are judged by
    margin: float  # bits


def load_run_report(planned: PlannedRun) -> Report:
    """The report of a run that has ended; of a diverged one, what is known without a score."""
    run = Run(planned.path)
    report = run.report or {**run.record.summary(), "score": None}
    if report["score"] and "block_bits" not in report["score"]:
        raise DataError(
            f"{run.path} was scored by a charlm that kept nothing of its blocks: remove its "
            f"report.json, and charlm train --run {run.path} --resume scores it anew"
        )
    return {**report, "flops_per_character": planned.flops_per_character}


def build_report(
    compared: ComparedRuns,
    judge: VerdictSettings,
    beside: Sequence[Baseline] = (),
    tuning: Report | None = None,
) -> Report:
    """report.json; beside: what else the text costs; tuning: what the cells' trials chose, if there
    were any."""
    runs = compared.runs
    reports = {cell: [load_run_report(one) for one in of] for cell, of in runs.items()}
    verdicts, blocks = compute_report_verdicts(reports, judge.baseline, judge.margin)
    rows = [
        {
            **summarize_cell(cell, of, compared.residual[cell]),
            "runs": [one.path.resolve().name for one in runs[cell]],
            "verdict": msgspec.to_builtins(verdicts[cell]),
        }
        for cell, of in reports.items()
    ]
    records = [Run(one.path).record for of in runs.values() for one in of]
    text = records[0].text
    scored = [one for of in reports.values() for one in of if one["score"]]
    return {
        "format": FORMAT_VERSION,
        "protocol": STREAMING_PROTOCOL,
        "corpus": {
            "sources": [Path(name).name or name for name in text.sources],
            "sha256": text.digest.sha256,
            "characters": text.characters,
            "splits": text.splits,
            "scored": scored[0]["scored_split"] if scored else "test",
            "scored_sha256": scored[0]["score"]["text_sha256"] if scored else None,
        },
        "equal": {**compared.equal, "order": "by seed"},
        "settings": shared_settings(
            [record.config for record in records], list(tuning["space"]) if tuning else ()
        ),
        "differ": compared.differ,
        "tuning": tuning,
        "made_by": merge_environments(records),
        "unit": score_unit(rows),
        "judged": {
            **judge._asdict(),
            "blocks": blocks,
            "level": SIGNIFICANCE_LEVEL,
            "correction": "Holm",
        },
        "rows": sort_rows(rows),
        "baselines": [
            {name: told for name, told in one.items() if name != "seconds"} for one in beside
        ],
    }


def merge_environments(records: Sequence[RunRecord]) -> dict[str, str]:
    """What made them: of what is not the same, each there is."""
    names = dict.fromkeys(name for record in records for name in record.environment)
    of = {name: {record.environment.get(name, "?") for record in records} for name in names}
    return {name: " or ".join(sorted(each)) for name, each in of.items()}


def build_timing_report(runs: RunsByCell, words: Sequence[str]) -> Report:
    """timing.json: how long the runs took where they were made, and the words of the command."""
    cells = {
        cell: summarize_timing([load_run_report(one) for one in of]) for cell, of in runs.items()
    }
    return {"format": FORMAT_VERSION, "command": shlex.join(words), "cells": cells}


def write_reports(
    place: Path,
    runs: RunsByCell,
    report: Report,
    times: Report,
    probed: Report | None,
    say: Callable[[str], None],
) -> None:
    """Writes all three; probed: the report of the runs' probes."""
    files.write_atomic(place / "report.json", encode_json(report))
    files.write_atomic(place / "timing.json", encode_json(times))
    curves = {cell: [load_validation_curve(one.path) for one in of] for cell, of in runs.items()}
    samples = {cell: sample_text(of[0], place / "samples", say) for cell, of in runs.items()}
    page = comparison.render(report, times, curves, samples, probed)
    files.write_atomic(place / "report.html", page)


def sample_text(planned: PlannedRun, place: Path, say: Callable[[str], None]) -> str | None:
    """What a run writes by itself; None if it diverged, or has no weights any more."""
    run = Run(planned.path)
    try:
        return cached_sample(run, planned.config, place, say) if run.report else None
    except DataError as error:
        say(f"nothing is shown that {run.path.name} writes: {error}")
        return None
