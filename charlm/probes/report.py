"""Report of probes: cached results of one or more runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from charlm import __version__
from charlm.config import FORMAT_VERSION
from charlm.errors import DataError
from charlm.probes.base import Probe
from charlm.probes.cache import is_consistent, read_answer
from charlm.results.probes import ProbedRun, ProbesReport, ProbeSummary
from charlm.storage.json_files import read_sealed_json


def build_report(
    runs: Sequence[ProbedRun],
    directories: Sequence[Path],
    probes: Sequence[Probe],
    command: str,
) -> ProbesReport:
    """Collect the cached results of these runs.

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
    answers = {run: read_answer(path, probe.name) for run, path in directories.items()}
    return ProbeSummary(
        documentation=probe.documentation,
        seconds={run: answer.seconds for run, answer in answers.items()},
        outcomes={run: answer.outcome for run, answer in answers.items()},
    )


def read_report(directory: Path) -> ProbesReport:
    """Read the `report.json` of probes.

    Raises:
        DataError: It is missing or damaged, or contradicts itself.
    """
    path = directory / "report.json"
    report = read_sealed_json(path, ProbesReport)
    names = {run.name for run in report.runs}
    outcomes = [summary.outcomes for summary in report.probes.values()]
    if (
        not names
        or len(names) < len(report.runs)
        or any(each.keys() != names for each in outcomes)
        or not all(is_consistent(outcome) for each in outcomes for outcome in each.values())
    ):
        raise DataError(f"cannot read {directory}: its report.json contradicts itself. Try a copy")
    return report
