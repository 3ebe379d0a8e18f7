"""Cost estimates: bounds hold, and what does not fit is refused before anything starts."""

import json
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from comparison_plans import run_report
from conftest import TINY, charlm, make_run

from charlm.comparison import cost_estimate
from charlm.comparison.budget_matching import BUDGET_MEASURES
from charlm.comparison.entries import Entry, PlannedRun, run_path
from charlm.comparison.tuning import PlannedWork
from charlm.config import validate_config
from charlm.data.corpus import Corpus, load_corpus
from charlm.errors import StorageError
from charlm.execution.executor import LocalExecutor
from charlm.models.char_lm import CharLM
from charlm.models.cost import count_parameters_and_state
from charlm.reporting.terminal.cost_estimate import print_cost_estimate
from charlm.results.comparison import CostEstimate
from charlm.runs.run import Run
from charlm.storage import files
from charlm.training.completion import restore_trainer
from charlm.training.loop import run_training_loop


def test_makespan_ends_with_the_last_job() -> None:
    assert cost_estimate.makespan([3, 1, 1, 5, 2], 1) == 12
    assert cost_estimate.makespan([3, 1, 1, 5, 2], 2) == 7  # 3 then 2 beside 1, 1, 5
    assert cost_estimate.makespan([3, 1, 1, 5, 2], 9) == 5
    assert cost_estimate.makespan([], 2) == 0


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


def planned(run: Run, corpus: Corpus) -> PlannedWork:
    config, vocabulary_size = run.record.config, corpus.vocabulary.size
    flops = BUDGET_MEASURES["flops"](config, vocabulary_size, CharLM)
    sizes = count_parameters_and_state(config, vocabulary_size)
    return work_of(PlannedRun(config, run.path, *sizes, flops))


def work_of(run: PlannedRun) -> PlannedWork:
    return PlannedWork(Entry("gru", "cell", None, (run,)), "run", run)


@pytest.mark.parametrize("cell", ["gru", "matrix-lstm"])
def test_disk_estimate_is_an_upper_bound(tmp_path: Path, book: Path, cell: str) -> None:
    settings = {**TINY, "hidden_size": 64, "max_steps": 60, "eval_every": 20, "cell": cell}
    corpus = load_corpus([str(book)], validate_config(settings))
    path = run_path(validate_config(settings), corpus.record, tmp_path)
    run, _, config = make_run(path, book, **settings)
    nothing = PlannedRun(
        config, tmp_path / "none", *count_parameters_and_state(config, corpus.vocabulary.size), 1
    )
    whole = cost_estimate.estimate_disk(work_of(nothing), corpus)
    learner, _ = restore_trainer(run, "cpu", config)
    list(run_training_loop(run, learner, corpus))
    taken = sum(file.stat().st_size for file in run.path.rglob("*") if file.is_file())
    written = (run.path / "metrics.jsonl").stat().st_size
    assert len(run.checkpoints) >= 2 and written <= 60 * cost_estimate.METRICS_BYTES_PER_STEP
    assert whole / 6 < taken < whole
    assert cost_estimate.estimate_disk(planned(run, corpus), corpus) == whole - taken
    run.write_report(run_report(run.record))
    assert cost_estimate.estimate_disk(planned(run, corpus), corpus) == 0


def test_small_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(free=5_000_000)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda place: (place.stat(), usage)[1])
    cost_estimate.check_disk_space(tmp_path / "not" / "there", 5_000_000)
    with pytest.raises(StorageError, match="need about 6.0 MB, and 5.0 MB are free there"):
        cost_estimate.check_disk_space(tmp_path / "not" / "there", 6_000_000)


WORDS = ["--cells", "rnn,gru", "--seeds", 2, "--params", 30_000, "--embedding-dim", 8]
WORDS += ["--batch-size", 4, "--seq-len", 16, "--max-steps", 20, "--kernel", "loop"]
WORDS += ["--trials", 0, "--baselines", "none"]


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
    assert not {"runs", "logs", "report.json"} & {path.name for path in out.iterdir()}
    assert [(run.cell, run.seed, run.status) for run in estimate.runs] == [
        *(("rnn", 0, "pending"), ("gru", 0, "pending")),
        *(("rnn", 1, "pending"), ("gru", 1, "pending")),
    ]
    assert len({entry.state_size for entry in estimate.entries}) == 1
    assert all(run.seconds > estimate.startup_seconds for run in estimate.runs)
    assert all(run.memory_bytes > 1e8 for run in estimate.runs)
    assert 0.5 < estimate.startup_seconds < 60  # PyTorch alone takes a second
    assert estimate.remaining.runs == 4
    assert estimate.remaining.disk_bytes == sum(run.disk_bytes for run in estimate.runs)
    print_cost_estimate(estimate)
    captured = capsys.readouterr()
    shown = captured.out
    assert all(len(line) <= 80 for line in shown.splitlines()) and "4 runs remain: " in shown
    assert shown.startswith(f"All cells have {estimate.matching.amount:.0f} floats of state")
    assert "there can be no verdict: 6 seeds or more are needed, there are 2" in captured.err
    # These are the runs that are then made.
    done = charlm("compare-cells", *words, "--cells", "rnn", "--seeds", 1, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [path.name for path in (out / "runs").iterdir()] == [
        estimate.runs[0].name.removeprefix("runs/")
    ]
    assert report["matching"]["measure"] == "state"
    assert report["rows"][0]["relative_error"] == 0
