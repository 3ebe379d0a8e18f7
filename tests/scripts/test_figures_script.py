"""Figures of a report as files of their own."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from example_reports import comparison_result, probes_report
from forked import run_script

from charlm.storage.json_files import seal_json

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "figures.py"


def run_figures(report: object, directory: Path) -> list[Path]:
    """Return the files that the script writes of a report."""
    (directory / "report.json").write_bytes(seal_json(report))
    done = run_script(SCRIPT, directory / "report.json", directory / "figures")
    assert done.returncode == 0, done.stderr
    return [Path(line) for line in done.stdout.decode().splitlines()]


@pytest.mark.slow
def test_figures_of_a_comparison_stand_alone(tmp_path: Path) -> None:
    cells = ("rnn", "gru", "lstm", "irnn", "lru", "sru")
    written = run_figures(comparison_result("", cells).report, tmp_path)
    names = [path.name.partition("-")[0] for path in written]
    assert names == ["memory.svg", *["differences"] * 4, *["tuning"] * (len(cells) + 1)]
    for path in written:
        shown = list(ElementTree.parse(path).getroot().itertext())
        has_all_cells = not path.name.startswith("tuning") or "expected" in path.name
        own = path.stem.removeprefix("tuning-").partition("-")[2]
        named = {name for name in (*cells, "1/4 of the steps", "chosen") if name in shown}
        assert named == ({*cells} if has_all_cells else {"1/4 of the steps", "chosen"}), path
        assert has_all_cells or shown[0].startswith(f"{own}: ")
    tuned = [path for path in written if path.stem.startswith("tuning-")]
    # The last cell, of which no trial learned anything, has no figure of its own.
    assert {path.stem.split("-", 2)[2] for path in tuned if "expected" not in path.name} == {*cells}


@pytest.mark.slow
def test_figures_of_probes_have_the_legend_of_their_cells(tmp_path: Path) -> None:
    written = run_figures(probes_report(), tmp_path)
    assert len(written) == 5
    for path in written:
        assert {"gru", "cell"} <= set(ElementTree.parse(path).getroot().itertext())
