"""charlm compare-cells, of runs that are there already."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from charlm import show
from charlm.cli.asked import Asked, Done
from charlm.cli.given import Work, file_of, probes_of
from charlm.config import flag, label, own
from charlm.errors import BadConfig, CharlmError

if TYPE_CHECKING:
    from charlm.baselines import Baseline
    from charlm.run import Run


KIND = "runs"
OPTIONS = {"corpus", "baseline", "margin", "out", "jobs", "log_every", "probe", "json", "device"}


def are_runs(names: list[str]) -> bool:
    """Whether these are directories of runs and comparisons, and no texts."""
    made = [
        name
        for name in names
        if any((Path(name) / file).exists() for file in ("run.json", "comparison.json"))
    ]
    if made and len(made) < len(names):
        (other, *_) = [name for name in names if name not in made]
        raise BadConfig(f"{made[0]} is of runs, and {other} is not: name only runs, or only texts")
    return bool(made)


def refuse(asked: Asked) -> None:
    """What is of runs that are yet to be made; --cells names only files that have a run's cell."""
    for name in sorted(asked.said - OPTIONS):
        if name != "cells" or not all(map(own, asked.cells or [])):
            raise BadConfig(
                f"{flag(name)} is of runs to be made: leave it out, as {asked.corpus[0]} is there "
                "already"
            )


def prepare(_: Asked) -> None:
    """There is nothing to be said before the runs are looked at."""


def compare(work: Work, asked: Asked) -> Done:
    """What the runs came to together, probed if so told."""
    from charlm import conclusion, existing
    from charlm.compare import begin
    from charlm.show import comparison
    from charlm.verdict import MARGIN

    runs, base = existing.opened(asked.corpus)
    for run in runs:
        run.admit(file_of(run, asked.cells or []))
    existing.refuse_incomparable(runs)
    named = existing.grouped(runs)
    usual = next(name for name, of in named.items() if base in of)
    baseline = label(asked.baseline) or usual
    if baseline not in named:
        raise BadConfig(f"--baseline {baseline}: one of {', '.join(named)}")
    begin(work.place, KIND)
    compared = existing.compared(named, baseline)
    judge = conclusion.Judge(baseline, asked.margin or MARGIN)
    report = conclusion.concluded(compared, judge, beside(runs, work))
    finished = [run for of in named.values() for run in of if run.report]
    answers = probes_of(finished, work) if asked.probe and finished else None
    times = conclusion.timing(compared.runs, ["charlm", *sys.argv[1:]])
    conclusion.keep(work.place, compared.runs, report, times, answers, show.say)
    return Done(report, lambda: comparison.table(report, times), "report.html and report.json")


def beside(runs: "list[Run]", work: Work) -> "list[Baseline]":
    """What the same text costs otherwise; none, and it is said why, if it is no longer there."""
    from charlm import baselines
    from charlm.corpus import reload
    from charlm.show import progress

    record = runs[0].record
    try:
        if any(run.report and run.report["split"] != "test" for run in runs):
            raise BadConfig("they were not scored on test, as baselines are")
        with progress.reading("reading the text", work.log_every) as tick:
            text = reload(record.config, record.text, [], tick)
    except CharlmError as error:
        show.say(f"no baselines stand beside these runs: {error}")
        return []
    return baselines.kept(text, work.place, lambda name: show.say(f"measuring {name}"))
