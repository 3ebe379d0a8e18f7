"""Conditions of a comparison in words."""

from collections.abc import Mapping

from charlm.config import describe_blocks
from charlm.reporting.wording.machine import describe_machine
from charlm.reporting.wording.matching import describe_differences, describe_matching
from charlm.reporting.wording.rows import cell_rows, format_error
from charlm.reporting.wording.tuning import describe_tuning
from charlm.results.comparison import ComparisonReport
from charlm.results.timing import TimingReport
from charlm.settings.values import LINE_END, document_separator


def describe_comparison(report: ComparisonReport) -> str:
    """Return the matched budget, the shared settings and the scoring of the runs."""
    matching = describe_matching(report.matching)
    scored = f"{report.protocol} on {report.corpus.scored_split}"
    if documents := describe_documents(report):
        scored = f"{scored}, {documents}"
    if report.differing_settings is not None:
        return f"{scored[0].upper()}{scored[1:]}. {matching}{describe_differences(report)}"
    errors = ", ".join(f"{row.name} {format_error(row)}" for row in cell_rows(report))
    block = describe_blocks(report.settings)
    read = f"{report.matching.characters:,} characters read by each run"
    protocol = f"{block}, {scored}, {read}, {describe_tuning(report)}"
    return f"{matching}: {errors}. {protocol[0].upper()}{protocol[1:]}"


def differs(report: ComparisonReport, setting: str) -> bool:
    """Return whether existing runs differ in a setting; one that is not recorded is the default."""
    return setting in (report.differing_settings or {})


def describe_documents(report: ComparisonReport) -> str:
    """Return where the state of the models starts anew within a text; "" if it is carried on."""
    if differs(report, "documents"):
        return "each document of a run with --documents from the initial state"
    setting = str(report.settings.get("documents", "none"))
    return "" if setting == "none" else describe_resets(setting)


def describe_resets(setting: str) -> str:
    """Return where the state starts anew by a value of `documents` other than "none"."""
    separator = document_separator(setting)
    what = "file" if not separator else "line" if separator == LINE_END else "document"
    end = f" (it ends with {separator!r})" if what == "document" else ""
    return f"each {what} from the initial state{end}"


def describe_carrying(report: ComparisonReport) -> str:
    """Return what becomes of the state of the models while they read a split."""
    documents = describe_documents(report)
    return f"then {documents}" if documents else "the state is carried on, also from file to file"


def describe_timing_minutes(timing: TimingReport, environment: Mapping[str, str]) -> str:
    """Return the minutes per run of each entry, fastest first, and the machine.

    In seconds if no run took a minute.
    """
    minutes = sorted(
        (entry.minutes, name) for name, entry in timing.cells.items() if entry.minutes is not None
    )
    is_short = bool(minutes) and minutes[-1][0] < 1
    scale, unit = (60, "Seconds") if is_short else (1, "Minutes")
    entries = ", ".join(f"{name} {scale * each:.1f}" for each, name in minutes)
    machine = describe_machine(environment)
    return f"{unit} of training per seed: {entries or '-'}; on {machine}."
