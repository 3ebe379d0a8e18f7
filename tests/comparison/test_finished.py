"""Reading of finished comparisons, damaged ones included, and the files that a paper takes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from conftest import charlm
from example_reports import comparison_result, task_result

from charlm.comparison.finished import load_comparison
from charlm.config import FORMAT_VERSION
from charlm.errors import DataError
from charlm.reporting.figure_files import KINDS, comparison_figures, render_files
from charlm.reporting.tables.render import render_report
from charlm.results.comparison import ComparisonMarker, ComparisonResult
from charlm.results.tasks import TaskComparisonResult
from charlm.storage.json_files import encode_json, seal_json

FOREIGN = '<script>"=x\\input{a}'


def write(directory: Path, result: ComparisonResult | TaskComparisonResult, kind: Any) -> Path:
    """Write a comparison as its command does, without its runs."""
    directory.mkdir(parents=True)
    marker = ComparisonMarker(format=FORMAT_VERSION, kind=kind)
    (directory / "comparison.json").write_bytes(encode_json(marker))
    (directory / "report.json").write_bytes(seal_json(result.report))
    (directory / "timing.json").write_bytes(seal_json(result.timing))
    return directory


def test_finished_comparison_is_what_was_written(tmp_path: Path) -> None:
    result = comparison_result(FOREIGN)
    loaded = load_comparison(write(tmp_path / "c", result, "text"))
    assert isinstance(loaded, ComparisonResult)
    assert loaded.report == result.report and loaded.timing == result.timing
    assert set(loaded.curves["gru"]) == {()}  # its runs are not there
    task = task_result(FOREIGN)
    assert load_comparison(write(tmp_path / "t", task, "task")) == task


def test_curves_are_read_from_the_runs_and_from_nowhere_else(trained: Path, tmp_path: Path) -> None:
    result = comparison_result()
    first, *others = result.report.rows

    def comparison(*runs: str) -> Path:
        rows = [msgspec.structs.replace(first, runs=(*runs, *first.runs[len(runs) :])), *others]
        report = msgspec.structs.replace(result.report, rows=tuple(rows))
        directory = tmp_path / str(len(list(tmp_path.iterdir())))
        return write(directory, msgspec.structs.replace(result, report=report), "text")

    directory = comparison("b")
    (directory / "runs" / "b").mkdir(parents=True)
    for file in ("metrics.jsonl", "events.jsonl"):
        (directory / "runs" / "b" / file).write_bytes((trained / file).read_bytes())
    loaded = load_comparison(directory)
    assert isinstance(loaded, ComparisonResult)
    inside, *missing = loaded.curves["gru"]
    assert inside and set(missing) == {()}

    for name in ("../a", "..", ".", "/etc", "", "a/b", "a\0b"):
        with pytest.raises(DataError, match="report.json is damaged: Expected `str` matching"):
            load_comparison(comparison(name))
    linked = comparison("b")
    (linked / "runs").mkdir()
    (linked / "runs" / "b").symlink_to(trained)
    with pytest.raises(DataError, match="runs/b: it is a symbolic link"):
        load_comparison(linked)


def without_reference(report: dict[str, Any]) -> None:
    report["statistics"]["reference"] = "clockwork"


def pair_of_nobody(report: dict[str, Any]) -> None:
    report["pairs"][0]["other"] = "nobody"


def same_names(report: dict[str, Any]) -> None:
    report["rows"][1]["name"] = report["rows"][0]["name"]


def missing_value(report: dict[str, Any]) -> None:
    report["rows"][1]["bits_per_byte"]["per_seed"].pop()


def no_runs(report: dict[str, Any]) -> None:
    report["rows"][1]["runs"] = []


def no_seeds(report: dict[str, Any]) -> None:
    report["rows"][0] |= {"seeds": [], "runs": []}


def missing_margin(report: dict[str, Any]) -> None:
    del report["statistics"]["margins"]["beyond_64"]


def short_curve(report: dict[str, Any]) -> None:
    report["rows"][0]["memory"]["curve"]["mean"].pop()


def short_seed_curve(report: dict[str, Any]) -> None:
    report["rows"][0]["memory"]["curve"]["per_seed"][0] = []


def range_without_end(report: dict[str, Any]) -> None:
    report["tuning"]["search"]["space"]["learning_rate"].pop()


def no_range(report: dict[str, Any]) -> None:
    del report["tuning"]["search"]["space"]["learning_rate"]


def no_rungs(report: dict[str, Any]) -> None:
    report["tuning"]["search"]["rungs"] = []


def untuned_seeds(report: dict[str, Any]) -> None:
    report["tuning"]["cells"]["gru"]["seeds"] = []


def fewer_rates(report: dict[str, Any]) -> None:
    report["budget"]["bracket"][0]["points"].pop()


def words_for_a_number(report: dict[str, Any]) -> None:
    report["settings"]["conv"] = "x"


def negative_difference(report: dict[str, Any]) -> None:
    report["differing_settings"] = {"num_layers": {"gru": 1, "lstm": -1}}


DAMAGE: dict[str, Callable[[dict[str, Any]], None]] = {
    "conv cannot be 'x'": words_for_a_number,
    "num_layers cannot be -1": negative_difference,
    "the reference has no row": without_reference,
    "a pair names a cell that has no row": pair_of_nobody,
    "two rows have the same name": same_names,
    "has not one value for each seed": missing_value,
    "has not one run for each seed": no_runs,
    "gru has not one run for each seed": no_seeds,
    "a quantity has no margin": missing_margin,
    "has not one value for each k": short_curve,
    "gru has not one value for each k": short_seed_curve,
    "its range of learning rates has not two ends": range_without_end,
    "a learning rate is at the end of no range": no_range,
    "its search has no trials": no_rungs,
    "the search of gru has no seeds": untuned_seeds,
    "two cells were tried at other multiples of their learning rates": fewer_rates,
}


@pytest.mark.parametrize("problem", DAMAGE)
def test_report_that_contradicts_itself_is_refused(problem: str, tmp_path: Path) -> None:
    directory = write(tmp_path / "c", comparison_result(), "text")
    report = json.loads((directory / "report.json").read_text())
    DAMAGE[problem](report)
    del report["sha256"]
    (directory / "report.json").write_bytes(seal_json(report))
    with pytest.raises(DataError, match=f"report.json is damaged: .*{problem}. Restore it"):
        load_comparison(directory)


def test_report_on_a_task_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    directory = write(tmp_path / "t", task_result(), "task")
    report = json.loads((directory / "report.json").read_text())
    del report["sha256"]

    def refused(problem: str, **changes: Any) -> None:
        (directory / "report.json").write_bytes(seal_json(report | changes))
        with pytest.raises(DataError, match=problem):
            load_comparison(directory)

    refused("it has no rows", lengths=[])
    refused("conv cannot be 'x'", settings=report["settings"] | {"conv": "x"})
    pairs = [{"length": 7, "cell": "gru", "other": "gru", "p": 0.5, "p_holm": 0.5}]
    refused("a pair names a length that was not tried", pairs=pairs)
    levels = report["rows"][0]["levels"]
    levels[-1]["extrapolation"] = {}
    refused("gru has not the same tests at each length")
    levels.pop()
    refused("gru has not one level for each length")


def test_command_prints_a_format_or_its_json(tmp_path: Path) -> None:
    result = task_result()
    directory = write(tmp_path / "t", result, "task")
    done = charlm("report", directory, "-f", "csv")
    assert done.stdout.decode() == render_report(result.report, "csv", result.timing)
    answer = json.loads(charlm("report", directory, "--json").stdout)
    assert answer == {
        "format": "markdown",
        "text": render_report(result.report, "markdown", result.timing),
    }
    bibtex = json.loads(charlm("cells", "bibtex", "gru", "--json").stdout)["bibtex"]
    assert "cho2014gru" in bibtex and "lstm" not in bibtex


@pytest.mark.slow
def test_out_writes_all_formats_and_figures_that_can_be_read(tmp_path: Path) -> None:
    directory = write(tmp_path / "t", task_result(FOREIGN), "task")
    out = tmp_path / "papers" / "one"
    done = charlm("report", directory, "--out", out)
    assert done.returncode == 0, done.stderr
    names = {path.name for path in out.iterdir()}
    assert {str(out / name) for name in names} == set(done.stdout.decode().splitlines())
    texts = {"tables.md", "tables.tex", "numbers.csv", "methods.txt", "methods.tex", "cells.bib"}
    figures = {name.partition(".")[0] for name in names - texts}
    assert texts <= names and {f"{name}.{kind}" for name in figures for kind in KINDS} <= names
    assert {"solved", "accuracy", "steps"} <= figures
    check_figure_files({path.name: path.read_bytes() for path in out.iterdir()})


def check_figure_files(files: dict[str, bytes]) -> None:
    """Check the kinds of files, and that no SVG has scripts, links or colors of a page."""
    for name, data in files.items():
        if name.endswith(".svg"):
            root = ElementTree.fromstring(data)
            assert not [node for node in root.iter() if node.tag.endswith("script")]
            assert b"var(--" not in data and b"#0102" not in data and b"#010101" not in data
        start = {"pdf": b"%PDF-", "png": b"\x89PNG"}.get(name.partition(".")[2], b"")
        assert data.startswith(start), name


@pytest.mark.slow
def test_figures_of_a_comparison_are_those_of_its_page_and_the_same_each_time() -> None:
    result = comparison_result()
    figures = comparison_figures(result)
    assert [figure.name for figure in figures] == [
        *("memory", "quality", "forest-bits_per_char", "forest-beyond_64", "forest-word_again"),
        *("forest-order_reach", "budget", "learning-0", "learning-1", "learning-2"),
    ]
    memory, forest = render_files(figures[0]), render_files(figures[2])
    check_figure_files(memory | forest)
    assert set(forest) == {f"forest-bits-per-char.{kind}" for kind in KINDS}
    assert render_files(figures[2]) == forest  # no time is in them
    shown = "".join(ElementTree.fromstring(memory["memory.svg"]).itertext())
    assert "k, characters of true context" in shown and "n-gram" in shown and "lstm" in shown
