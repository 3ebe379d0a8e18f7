"""Report of probes: cached results of one or more runs, and results of the group."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from charlm import __version__
from charlm.config import FORMAT_VERSION
from charlm.probes.base import GroupProbe, Probe, ProbeNotApplicableError
from charlm.probes.runner import read_answer, read_artifacts
from charlm.results.probes import (
    Measured,
    NotApplicable,
    Outcome,
    ProbedRun,
    ProbesReport,
    ProbeSummary,
)
from charlm.storage.json_files import decode_json, read_bytes

GROUP = "group"  # key of the outcome of a group probe


def build_report(
    runs: Sequence[ProbedRun],
    directories: Sequence[Path],
    probes: Sequence[Probe],
    command: str,
) -> ProbesReport:
    """Collect the cached results of these runs, and run the group probes.

    Args:
        runs: Descriptions of the runs, all on the same text.
        directories: Directory of the cached results of each run.
        probes: Probes in the order of the report.
        command: Command that reproduces the report.
    """
    by_name = {run.name: path for run, path in zip(runs, directories, strict=True)}
    return ProbesReport(
        format=FORMAT_VERSION,
        charlm=__version__,
        command=command,
        text=runs[0].text,
        runs=tuple(runs),
        probes={probe.name: summarize_probe(probe, by_name) for probe in probes},
    )


def summarize_probe(probe: Probe, directories: Mapping[str, Path]) -> ProbeSummary:
    """Return a probe's outcomes; directories: of the cached results, by name of the run."""
    if isinstance(probe, GroupProbe):
        start_time = time.perf_counter()
        outcomes = {GROUP: evaluate_group_probe(probe, directories)}
        seconds = {GROUP: round(time.perf_counter() - start_time, 3)}
    else:
        answers = {run: read_answer(path, probe.name) for run, path in directories.items()}
        outcomes = {run: answer.outcome for run, answer in answers.items()}
        seconds = {run: answer.seconds for run, answer in answers.items()}
    return ProbeSummary(
        documentation=probe.documentation,
        seconds=seconds,
        outcomes=outcomes,
    )


def evaluate_group_probe(probe: GroupProbe, directories: Mapping[str, Path]) -> Outcome:
    """Run a group probe on the artifacts of all runs."""
    artifacts = {run: read_artifacts(path, probe.depends_on) for run, path in directories.items()}
    if missing := [run for run, tensors in artifacts.items() if not tensors]:
        return NotApplicable(f"{probe.depends_on} does not apply to {', '.join(missing)}")
    try:
        return Measured(probe.compare(artifacts))
    except ProbeNotApplicableError as error:
        return NotApplicable(str(error))


def read_report(directory: Path) -> ProbesReport:
    """Read the `report.json` of probes."""
    path = directory / "report.json"
    return decode_json(read_bytes(path), ProbesReport, path)
