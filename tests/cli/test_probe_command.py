"""`charlm probe`: two runs side by side, and the directory of its results."""

import json
from pathlib import Path

import msgspec
import pytest
from conftest import charlm, prose

from charlm.probes.base import MEMORY_PROBES, PROBES
from charlm.probes.estimates import PROBED_TOKENS, REPORT_DISK_BYTES, estimate_seconds
from charlm.results.probe_plan import ProbeEstimate
from charlm.storage.json_files import unseal_json

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
    written = unseal_json((out / "report.json").read_bytes(), out)
    assert report == json.loads(written)
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


def test_dry_run_lists_probes_and_writes_nothing(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "p"
    words = ["probe", trained, "--max-chars=200", "--out", out]
    done = charlm(*words, "--full", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr.decode()
    estimate = msgspec.json.decode(done.stdout, type=ProbeEstimate)
    assert not list(tmp_path.iterdir()) and not (trained / "probes").exists()
    assert [probe.probe for probe in estimate.probes] == list(PROBES)
    assert {probe.run for probe in estimate.probes} == {"lstm"}
    assert estimate.characters == 200 and not any(probe.is_done for probe in estimate.probes)
    assert estimate.cpu_seconds == pytest.approx(sum(p.cpu_seconds for p in estimate.probes))
    assert estimate.seconds == estimate.cpu_seconds > 0 and estimate.parallel_runs == 1
    assert estimate.disk_bytes > sum(probe.disk_bytes for probe in estimate.probes) > 0
    # What is there already counts as done, and the estimate of disk was no less than it takes.
    assert charlm(*words, "--probes=gradient-norm").returncode == 0
    written = sum(path.stat().st_size for path in out.iterdir())
    (planned,) = (probe for probe in estimate.probes if probe.probe == "gradient-norm")
    assert written < planned.disk_bytes + REPORT_DISK_BYTES
    names = "--probes=gradient-norm,timescales"
    before = sorted(path.name for path in out.iterdir())
    shown = charlm(*words, names, "--dry-run").stdout.decode()
    assert "for 1 measurement, 1 in parallel on cpu" in shown
    rows = [line.split() for line in shown.splitlines() if line.startswith("lstm")]
    assert [row[2:5] for row in rows] == [
        ["gradient-norm", "yes", "0:00"],
        ["timescales", "no", rows[1][4]],
    ]
    assert sorted(path.name for path in out.iterdir()) == before
    other = charlm("probe", trained, "--out", out, "--dry-run")
    assert other.returncode == 73 and b"other settings" in other.stderr


def test_estimated_time_follows_the_tokens_read() -> None:
    memory, other = PROBES["context-shuffle"], PROBES["gradient-norm"]
    whole = [PROBES[name] for name in MEMORY_PROBES]
    assert sum(estimate_seconds(whole, 1e-6, 10**6)) == pytest.approx(PROBED_TOKENS * 1e-6)
    assert sum(estimate_seconds(whole, 1e-6, 1000)) == pytest.approx(9000 * 1e-6)
    own, others = estimate_seconds([memory, other], 1e-6, 1000)
    assert others / own == pytest.approx(other.cost / memory.cost)
