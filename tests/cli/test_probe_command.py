"""`charlm probe`: two runs side by side, and the directory of its results."""

import json
from pathlib import Path

import pytest
from conftest import charlm, prose

SETTINGS = [
    "--hidden-size=8",
    "--embedding-dim=6",
    "--batch-size=8",
    "--seq-len=32",
    "--max-steps=30",
    "--split-ratios=40/10/50",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory with the runs `gru` and `lstm` of one text."""
    directory = tmp_path_factory.mktemp("runs")
    (directory / "book.txt").write_text(prose(9000))
    for cell in ("gru", "lstm"):
        run = f"--run={directory / cell}"
        done = charlm("train", directory / "book.txt", f"--cell={cell}", *SETTINGS, run)
        assert done.returncode == 0, done.stderr.decode()
    return directory


@pytest.mark.slow
def test_two_runs_are_probed_side_by_side(runs: Path, tmp_path: Path) -> None:
    names = "context-replacement,closing-delimiters"
    out = tmp_path / "p"
    words = ["probe", runs / "gru", runs / "lstm", f"--probes={names}"]
    words += ["--max-chars=3000", f"--out={out}", "--json"]
    done = charlm(*words)
    assert done.returncode == 0, done.stderr.decode()
    report = json.loads(done.stdout)
    assert report == json.loads((out / "report.json").read_text())
    assert b"</html>" in (out / "report.html").read_bytes()
    assert [run["name"] for run in report["runs"]] == ["gru", "lstm"]
    assert report["command"].startswith("charlm probe ")
    outcomes = report["probes"]["context-replacement"]["outcomes"]
    assert set(outcomes) == {"gru", "lstm"}
    for outcome in outcomes.values():
        (curve,) = outcome["result"]["curves"]
        assert curve["x"] == [16, 64, 256, 1024] and abs(curve["y"][0]) < 1
    for outcome in report["probes"]["closing-delimiters"]["outcomes"].values():
        assert outcome["status"] == "not_applicable"  # the text has neither brackets nor blocks
    again = json.loads(charlm(*words).stdout)
    assert again["probes"]["context-replacement"] == report["probes"]["context-replacement"]


def test_directory_with_other_files_is_refused(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    done = charlm("probe", trained, "--probes=timescales", "--out", tmp_path)
    assert done.returncode == 73
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_results_of_a_run_are_printed_and_written(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "p"
    done = charlm("probe", trained, "--probes=gradient-norm", "--out", out)
    assert done.returncode == 0, done.stderr.decode()
    assert b"gradient-norm" in done.stdout and b"slope, loss, trained" in done.stdout
    assert f"results are in {out}: report.html, report.json" in done.stderr.decode()
    assert b"</html>" in (out / "report.html").read_bytes()
    written = {path.name for path in out.iterdir()}
    assert {"gradient-norm.json", "probes.json", "report.json"} <= written
