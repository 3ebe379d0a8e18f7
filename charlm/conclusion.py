"""What the runs of a comparison came to together: report.json, timing.json and report.html.

The report follows from the runs alone: its bytes are the same in whichever order, where and with
how many interruptions they were made. What a clock said is apart from it.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from charlm import durable
from charlm.baselines import Baseline
from charlm.checkpoint import encode_json
from charlm.compare import PlannedRun, shared_settings
from charlm.config import FORMAT_VERSION
from charlm.errors import DataError
from charlm.evaluate import STREAMING_PROTOCOL
from charlm.excerpt import cached_sample
from charlm.pages import comparison
from charlm.report import Report, load_validation_curve, compute_report_verdicts, sort_rows, summarize_cell, summarize_timing, score_unit
from charlm.run import RunRecord, Run
from charlm.verdict import SIGNIFICANCE_LEVEL

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
            "scored": scored[0]["split"] if scored else "test",
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
        "judged": {**judge._asdict(), "blocks": blocks, "level": SIGNIFICANCE_LEVEL, "correction": "Holm"},
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
    cells = {cell: summarize_timing([load_run_report(one) for one in of]) for cell, of in runs.items()}
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
    durable.write_atomic(place / "report.json", encode_json(report))
    durable.write_atomic(place / "timing.json", encode_json(times))
    curves = {cell: [load_validation_curve(one.path) for one in of] for cell, of in runs.items()}
    samples = {cell: sample_text(of[0], place / "samples", say) for cell, of in runs.items()}
    page = comparison.render(report, times, curves, samples, probed)
    durable.write_atomic(place / "report.html", page)


def sample_text(planned: PlannedRun, place: Path, say: Callable[[str], None]) -> str | None:
    """What a run writes by itself; None if it diverged, or has no weights any more."""
    run = Run(planned.path)
    try:
        return cached_sample(run, planned.config, place, say) if run.report else None
    except DataError as error:
        say(f"nothing is shown that {run.path.name} writes: {error}")
        return None
