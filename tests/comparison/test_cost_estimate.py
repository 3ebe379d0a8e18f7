"""Cost estimates: bounds hold, and what does not fit is refused before anything starts."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from conftest import TINY, charlm

from charlm.comparison import cost_estimate
from charlm.comparison.entries import Entry, plan_runs
from charlm.comparison.throughput import probe_seconds
from charlm.comparison.work import PlannedWork
from charlm.config import validate_config
from charlm.data.corpus import load_corpus
from charlm.errors import StorageError
from charlm.execution.executor import LocalExecutor
from charlm.reporting.terminal.cost_estimate import print_cost_estimate
from charlm.results.comparison_plan import CostEstimate
from charlm.storage import files
from charlm.training.estimates import RunTimings
from charlm.training.session import train


def test_probes_of_a_short_text_take_less() -> None:
    speed = RunTimings(1.0, 1e-6, 1.0)

    def seconds(length: int) -> float:
        corpus: Any = SimpleNamespace(stored_split=lambda name: range(length))
        return probe_seconds(speed, corpus)

    assert seconds(100) < 0.002
    assert seconds(250_000) == seconds(10**7) == pytest.approx(4.2)


def test_parallel_jobs_are_limited_by_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        cost_estimate, "available_memory", {"cuda:1": 9.5e9, "cpu": 90e9}.__getitem__
    )
    needs = [int(3e9), int(1e9), int(4e9), int(2e9)]

    def limited(jobs: int, device: str, needs: list[int] = needs) -> tuple[int, bool]:
        executor, is_limited = cost_estimate.limit_to_memory(LocalExecutor(jobs, device), needs)
        assert executor.device == device
        return executor.max_parallel, is_limited

    assert limited(16, "cuda:1") == (3, True)  # 4 + 3 + 2, whichever come together
    assert limited(2, "cuda:1") == (2, False)
    assert limited(16, "cpu") == (4, False)
    # One that does not fit by itself fails when it starts.
    assert limited(4, "cuda:1", [int(11e9)])[0] == 1
    config = validate_config(TINY)
    there, here = (
        cost_estimate.estimate_memory(config, 90, device) for device in ("cuda:1", "cpu")
    )
    assert (
        there - here
        == cost_estimate.PROCESS_OVERHEAD_BYTES["cuda"]
        - cost_estimate.PROCESS_OVERHEAD_BYTES["cpu"]
        > 0
    )


@pytest.mark.parametrize("cell", ["gru", "matrix-lstm"])
def test_disk_estimate_is_what_a_finished_run_takes(tmp_path: Path, book: Path, cell: str) -> None:
    settings = {**TINY, "hidden_size": 64, "characters": 60 * 64, "max_steps": 0, "cell": cell}
    corpus = load_corpus([str(book)], validate_config(settings))
    (run,) = plan_runs([validate_config(settings)], corpus.record, corpus.vocabulary.size, tmp_path)
    work = PlannedWork(Entry("cell", "cell", None, (run,)), "run", run)
    whole = cost_estimate.estimate_disk(work)
    train(str(book), validate_config(settings), run.path)
    taken = sum(file.stat().st_size for file in run.path.rglob("*") if file.is_file())
    assert whole / 4 < taken < whole
    assert cost_estimate.estimate_disk(work) == 0


def test_small_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(free=5_000_000)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda place: (place.stat(), usage)[1])
    cost_estimate.check_disk_space(tmp_path / "not" / "there", 5_000_000)
    with pytest.raises(StorageError, match="need about 6.0 MB, and 5.0 MB are free there"):
        cost_estimate.check_disk_space(tmp_path / "not" / "there", 6_000_000)


WORDS = ["--cells", "rnn,gru", "--seeds", 2, "--params", 30_000, "--embedding-dim", 8]
WORDS += ["--batch-size", 4, "--seq-len", 16, "--max-steps", 40, "--kernel", "loop"]
WORDS += ["--baselines", "none"]


@pytest.mark.slow
def test_dry_run_lists_every_run_and_starts_none(
    tmp_path: Path, book: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = [book, *WORDS, "--match", "state", "--out", out]
    done = charlm("compare-cells", *words, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert b"there can be no verdict: 6 seeds or more are needed, there are 2" in done.stderr
    estimate = msgspec.json.decode(done.stdout, type=CostEstimate)
    assert not out.exists()
    assert [(run.purpose, run.cell, run.seed) for run in estimate.runs[:4]] == [
        *(("run", "rnn", 0), ("run", "gru", 0), ("run", "rnn", 1), ("run", "gru", 1))
    ]
    assert Counter(run.purpose for run in estimate.runs) == {"run": 4, "bracket": 4, "probe": 4}
    assert len({entry.state_size for entry in estimate.entries}) == 1
    assert all(run.seconds > estimate.startup_seconds for run in estimate.runs)
    assert all(run.memory_bytes > 1e8 for run in estimate.runs)
    assert estimate.remaining.runs == 12
    assert estimate.remaining.disk_bytes == sum(run.disk_bytes for run in estimate.runs)
    print_cost_estimate(estimate)
    captured = capsys.readouterr()
    shown = captured.out
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert f"All cells have {estimate.matching.amount:.0f} floats of state" in shown
    assert "there can be no verdict: 6 seeds or more are needed, there are 2" in captured.err
    # These are the runs that are then made.
    words += ["--cells", "rnn", "--seeds", 1, "--no-memory"]
    done = charlm("compare-cells", *words, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [path.name for path in (out / "runs").iterdir()] == [
        estimate.runs[0].name.removeprefix("runs/")
    ]
    assert report["matching"]["measure"] == "state"
    assert report["rows"][0]["relative_error"] == 0
