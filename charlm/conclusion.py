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
from charlm.checkpoint import readable
from charlm.compare import Planned, common
from charlm.config import FORMAT
from charlm.errors import BadData
from charlm.evaluate import PROTOCOL
from charlm.excerpt import excerpt
from charlm.pages import comparison
from charlm.report import Report, curve, judged, ordered, row, timed, unit_of
from charlm.run import Run
from charlm.verdict import LEVEL

Runs = Mapping[str, Sequence[Planned]]  # cell -> its runs, one a seed


class Judge(NamedTuple):
    """By what verdicts are found."""

    baseline: str  # the cell that others are judged by
    margin: float  # bits


def report_of(planned: Planned) -> Report:
    """The report of a run that has ended; of a diverged one, what is known without a score."""
    run = Run(planned.path)
    report = run.report or {**run.record.facts(), "score": None}
    if report["score"] and "block_bits" not in report["score"]:
        raise BadData(
            f"{run.path} was scored by a charlm that kept nothing of its blocks: remove it, and "
            "the same command makes it anew"
        )
    return {**report, "flops_per_character": planned.flops_per_character}


def concluded(
    runs: Runs,
    equal: Report,
    residual: Mapping[str, float],
    judge: Judge,
    beside: Sequence[Baseline],
    tuning: Report | None,
) -> Report:
    """report.json: what is equal and by how much a cell misses it, what else the text costs, and
    what the cells' trials chose, if there were any, are given."""
    reports = {cell: [report_of(one) for one in of] for cell, of in runs.items()}
    verdicts, blocks = judged(reports, judge.baseline, judge.margin)
    rows = [
        {**row(of, residual[cell]), "verdict": msgspec.to_builtins(verdicts[cell])}
        for cell, of in reports.items()
    ]
    record = Run(next(iter(runs.values()))[0].path).record
    text = record.text
    scores = [one["score"] for of in reports.values() for one in of if one["score"]]
    return {
        "format": FORMAT,
        "protocol": PROTOCOL,
        "corpus": {
            "sources": text.sources,
            "sha256": text.digest.sha256,
            "characters": text.characters,
            "splits": text.splits,
            "test_sha256": scores[0]["text_sha256"] if scores else None,
        },
        "equal": {**equal, "order": "by seed"},
        "settings": common(record.config, list(tuning["space"]) if tuning else ()),
        "tuning": tuning,
        "made_by": record.made_by,
        "unit": unit_of(rows),
        "judged": {**judge._asdict(), "blocks": blocks, "level": LEVEL, "correction": "Holm"},
        "rows": ordered(rows),
        "baselines": [
            {name: told for name, told in one.items() if name != "seconds"} for one in beside
        ],
    }


def timing(runs: Runs, words: Sequence[str]) -> Report:
    """timing.json: how long the runs took where they were made, and the words of the command."""
    cells = {cell: timed([report_of(one) for one in of]) for cell, of in runs.items()}
    return {"format": FORMAT, "command": shlex.join(words), "cells": cells}


def keep(
    place: Path,
    runs: Runs,
    report: Report,
    times: Report,
    probed: Report | None,
    say: Callable[[str], None],
) -> None:
    """Writes all three; probed: the report of the runs' probes."""
    durable.write_file(place / "report.json", readable(report))
    durable.write_file(place / "timing.json", readable(times))
    curves = {cell: [curve(one.path) for one in of] for cell, of in runs.items()}
    samples = {cell: written(of[0], say) for cell, of in runs.items()}
    page = comparison.render(report, times, curves, samples, probed)
    durable.write_file(place / "report.html", page)


def written(planned: Planned, say: Callable[[str], None]) -> str | None:
    """What a run writes by itself; None if it diverged."""
    run = Run(planned.path)
    return excerpt(run, planned.config, say) if run.report else None
