"""Memory profile of a comparison: on a terminal, its page, and in the files for a paper."""

import msgspec
import pytest
from example_reports import comparison_result

from charlm.comparison.stored_reports import contradiction
from charlm.reporting.figure_files import comparison_figures
from charlm.reporting.html.comparison import render_comparison
from charlm.reporting.tables.render import render_report
from charlm.reporting.terminal.comparison import print_comparison
from charlm.reporting.terminal.memory_profile import print_memory_profile, profile_lines
from charlm.reporting.wording.memory_profile import comparison_profile
from charlm.results.comparison import ComparisonResult, MemoryProfile, ProfiledTask
from charlm.results.probes import Aspect, ProfileEntry
from charlm.storage.json_files import encode_json


def entry(aspect: Aspect, value: float, unit: str, ceiling: float) -> ProfileEntry:
    return ProfileEntry(
        aspect=aspect,
        value=value,
        low=value - 0.1,
        high=value + 0.1,
        unit=unit,
        chance=0.0,
        ceiling=ceiling,
    )


def profiled(cells: tuple[str, ...] = ("gru", "lstm")) -> ComparisonResult:
    """A comparison whose cells hold something and recall pairs, but for the last one."""
    result = comparison_result(cells=cells)
    rows = [
        msgspec.structs.replace(
            row,
            profile=MemoryProfile(
                holds=entry("holds", 1.0 + number, "bits per character", 4.0),
                recalls=entry("recalls", 2.0 + number, "pairs", 8.0),
            )
            if number < len(cells)
            else MemoryProfile(),
        )
        for number, row in enumerate(result.report.cells)
    ]
    task = ProfiledTask(
        aspect="recalls",
        task="recall-pairs",
        lengths=(4, 8),
        matching=msgspec.structs.replace(result.report.matching, parameters=5000, max_steps=600),
        ceiling=8.0,
    )
    others = [row for row in result.report.rows if row.role != "cell"]
    report = msgspec.structs.replace(result.report, rows=(*rows, *others), profiled_tasks=(task,))
    return msgspec.structs.replace(result, report=report)


def test_comparison_in_a_pipe_ends_in_the_profile_within_80_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = profiled(("gru", "lstm", "rnn"))
    print_comparison(result.report, result.timing)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    start = next(at for at, line in enumerate(lines) if line.startswith("memory profile: "))
    text = " ".join(lines[start:])
    assert "trained on the task recall-pairs (lengths 4, 8; 5,000 parameters;" in text
    (row,) = [line.split() for line in lines[start:] if line.startswith("lstm")]
    assert row == ["lstm", "50.0", "(47.5", "to", "52.5)", "37.5", "(36.2", "to", "38.8)"]


def test_profile_of_more_than_80_columns_is_stacked_in_a_pipe(
    capsys: pytest.CaptureFixture[str],
) -> None:
    profile = comparison_profile(profiled().report)
    for entries in profile.values():
        entries["uses"] = entry("uses", 0.5, "bits per character", 1.0)
        entries["looks up"] = entry("looks up", 0.5, "bits per word", 10.0)
    assert 80 < max(map(len, profile_lines(profile, "cell", 100))) <= 100
    print_memory_profile(profile, "cell", "character")
    lines = capsys.readouterr().out.splitlines()
    assert "uses: bits per character" in lines and max(map(len, lines)) <= 80


def test_profile_is_stacked_with_chance_and_ceiling_where_it_is_narrow() -> None:
    profile = comparison_profile(profiled().report)
    lines = profile_lines(profile, "cell", 40)
    assert lines[0].split() == ["share,", "%", "value", "chance", "ceiling"]
    assert lines[1] == "holds: bits per character" and "recalls: pairs" in lines
    assert lines[2].split() == ["gru", "25.0", "1.00", "(0.90", "to", "1.10)", "0", "4"]
    assert len(profile_lines(profile, "cell", 80)) == 2 + 2


def test_page_has_the_profile_with_one_figure() -> None:
    page = render_comparison(profiled()).decode()
    section = page[page.index("<h2>Memory profile</h2>") : page.index("<h2>Generated text</h2>")]
    assert section.count("<figure>") == 1 and "50.0 (47.5 to 52.5)" in section
    assert "recall-pairs (lengths 4, 8" in section
    bare = render_comparison(comparison_result(cells=("gru", "lstm"))).decode()
    assert "Memory profile" not in bare


def test_files_for_a_paper_have_the_profile() -> None:
    result = profiled()
    report = result.report
    assert "memory-profile" in [figure.name for figure in comparison_figures(result)]
    markdown = render_report(report, "markdown")
    assert "| lstm |     50.0 | 2.00 (1.90 to 2.10) |" in markdown.replace("  |", " |")
    rows = [line.split(",") for line in render_report(report, "csv").splitlines()]
    found = {row[1]: row[7:10] for row in rows if row[0] == "profile" and row[3] == "gru"}
    assert found["recalls"] == ["2.0", "1.9", "2.1"] and found["holds_ceiling"][0] == "4.0"
    methods = " ".join(render_report(report, "methods").split())
    assert "The memory profile is the share of the way from no memory" in methods
    assert "by Student's t" in methods


def test_report_keeps_the_profile_and_is_flat_for_pandas() -> None:
    report = profiled().report
    again = msgspec.json.decode(encode_json(report), type=type(report))
    assert again == report and contradiction(report) == ""
    rows = tuple(
        msgspec.structs.replace(row, profile=MemoryProfile(uses=row.profile.holds))
        for row in report.rows
    )
    assert contradiction(msgspec.structs.replace(report, rows=rows)) == (
        "gru has a part of its memory profile in the place of another"
    )
    row = report.to_dicts()[0]
    assert row["profile.recalls.value"] == 2.0 and row["profile.tracks.value"] is None
