"""Memory profile of probed runs: shares between chance and ceiling, on a terminal and a page."""

import msgspec
import pytest
from example_reports import probes_report

from charlm.reporting.html.memory_profile import profile_section
from charlm.reporting.html.probes import render_probes
from charlm.reporting.terminal.probes import print_probes
from charlm.reporting.wording.memory_profile import (
    ASPECTS,
    describe_aspects,
    detail_table,
    explain_profile,
    format_share,
    memory_profile,
    profile_table,
    share_of,
)
from charlm.results.probes import Measured, ProbesReport, ProfileEntry


def entry(aspect: str, value: float, **fields: float | None) -> ProfileEntry:
    settings = {"low": value - 0.1, "high": value + 0.1, "chance": 0.0, "ceiling": 4.0, **fields}
    values = {"aspect": aspect, "value": value, "unit": "bits per character", **settings}
    return msgspec.convert(values, ProfileEntry)


def failed(value: float) -> ProfileEntry:
    """A loss beyond the window, of a model that gains two bits from context."""
    return entry("survives", value, chance=2.0, ceiling=0.0)


def report_of(*runs: list[ProfileEntry]) -> ProbesReport:
    """A report in which each run has these entries, and no other figure."""
    report = probes_report(runs=len(runs))
    probe = report.probes["context-shuffle"]
    probes = {}
    for aspect in ASPECTS:
        outcomes = {}
        for run, entries in zip(report.runs, runs, strict=True):
            own = [each for each in entries if each.aspect == aspect]
            outcome = probe.outcomes[run.name]
            assert isinstance(outcome, Measured)
            result = msgspec.structs.replace(outcome.result, profile=own[0] if own else None)
            outcomes[run.name] = Measured(result)
        probes[aspect] = msgspec.structs.replace(probe, outcomes=outcomes)
    return msgspec.structs.replace(report, probes=probes)


BOTH = report_of([entry("holds", 1.0), failed(0.5)], [entry("holds", 3.0, ceiling=4.5)])


def test_share_is_the_way_from_chance_to_ceiling() -> None:
    held = share_of(entry("holds", 1.0))
    assert held == pytest.approx((0.25, 0.225, 0.275))
    assert share_of(failed(2.0)) == pytest.approx((0, -0.05, 0.05))
    assert share_of(failed(0.5)) == pytest.approx((0.75, 0.7, 0.8))
    assert share_of(failed(-0.2)) == pytest.approx((1.1, 1.05, 1.15))


def test_model_that_gains_nothing_from_context_has_no_share() -> None:
    assert share_of(entry("uses", 0.1, ceiling=-0.2)) is None
    assert share_of(entry("uses", 0.1, ceiling=0.0)) is None
    assert share_of(entry("survives", 0.1, chance=-0.3, ceiling=0.0)) is None
    assert format_share(entry("uses", 0.1, ceiling=0.0)) == format_share(None) == "–"


def test_share_is_written_with_its_interval() -> None:
    assert format_share(entry("holds", 1.0)) == "25.0 (22.5 to 27.5)"
    assert format_share(entry("holds", 1.0, low=None, high=None)) == "25.0"
    assert format_share(entry("holds", -0.0001, low=-0.04, high=0.04)) == "0.0 (−1.0 to 1.0)"


def test_profile_has_a_row_per_run_and_a_column_per_aspect() -> None:
    heads, rows = profile_table(memory_profile(BOTH))
    assert heads == ["run", "holds, %", "survives, %"]
    assert rows == [
        ["run-0", "25.0 (22.5 to 27.5)", "75.0 (70.0 to 80.0)"],
        ["run-1", "66.7 (64.4 to 68.9)", "–"],
    ]
    _, details = detail_table(memory_profile(BOTH))
    assert details[1] == [
        "run-0",
        "survives",
        "0.50 (0.40 to 0.60)",
        "2",
        "0",
        "bits per character",
    ]
    (holds, meaning), _ = describe_aspects(memory_profile(BOTH), "byte")
    assert holds == "holds" and "bits about the byte 16 back" in meaning
    assert meaning.endswith("Chance: 0. Ceiling: 4 to 4.5, the entropy of a byte.")


def test_profile_ends_the_terminal_and_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    print_probes(BOTH)
    lines = capsys.readouterr().out.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("memory profile: "))
    assert any(line.split()[:2] == ["run-0", "25.0"] for line in lines[start:])
    assert max(map(len, lines[start:])) <= 80
    page = render_probes(BOTH).decode()
    assert page.index("Question it is.") < page.index('<section id="memory-profile">')
    assert "66.7 (64.4 to 68.9)" in page
    section = profile_section(BOTH)
    assert section is not None and str(section.figure.svg).count("survives") == 1


def test_runs_without_a_measured_part_have_no_profile() -> None:
    report = report_of([], [])
    assert memory_profile(report) == {} and profile_section(report) is None
    assert 'id="memory-profile"' not in render_probes(report).decode()
    assert list(memory_profile(report_of([], [entry("uses", 1.0)]))) == ["run-1"]


def test_interval_is_promised_only_where_there_is_one() -> None:
    own, without = entry("uses", 1.0), entry("uses", 1.0, low=None, high=None)
    assert explain_profile({"a": {"uses": own}, "b": {"uses": without}}).endswith("95 % interval.")
    assert explain_profile({"a": {"uses": without}}).endswith("too much alike, for an interval.")
