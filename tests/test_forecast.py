"""The plan: what runs will take is what they take, and what does not fit is not begun."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import TINY, charlm, make_run

from charlm.comparison import cost_estimate
from charlm.comparison.budget_matching import BUDGET_MEASURES
from charlm.comparison.plan import PlannedRun, run_path
from charlm.config import validate_config
from charlm.data.corpus import load_corpus
from charlm.errors import StorageError
from charlm.execution.jobs import LocalExecutor
from charlm.models.char_lm import CharLM
from charlm.models.cost import count_parameters_and_state
from charlm.reporting.terminal import cost_estimate as show
from charlm.runs.run import Run
from charlm.storage import files
from charlm.training.loop import train
from charlm.training.session import restore_trainer

pass


def test_jobs_that_are_begun_in_order_end_when_the_last_does() -> None:
    assert cost_estimate.makespan([3, 1, 1, 5, 2], 1) == 12
    assert cost_estimate.makespan([3, 1, 1, 5, 2], 2) == 7  # 3 then 2 beside 1, 1, 5
    assert cost_estimate.makespan([3, 1, 1, 5, 2], 9) == 5
    assert cost_estimate.makespan([], 2) == 0


def test_a_gpu_is_packed_as_far_as_its_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        cost_estimate, "memory_available", {"cuda:1": 9.5e9, "cpu": 90e9}.__getitem__
    )
    needs = [int(3e9), int(1e9), int(4e9), int(2e9)]

    def packed(jobs: int, device: str, needs: list[int] = needs) -> tuple[int, str]:
        found, said = cost_estimate.fit_to_memory(LocalExecutor(jobs, device), needs)
        assert found.where == device
        return found.max_parallel, said

    alone = 3, "3 side by side on cuda:1: no more fit into 9.5 GB"
    assert packed(16, "cuda:1") == alone  # 4 + 3 + 2, whichever come together
    assert packed(2, "cuda:1") == (2, "2 side by side on cuda:1")
    assert packed(16, "cpu") == (4, "4 side by side on cpu")
    # One that does not fit by itself says so when it is begun.
    assert packed(4, "cuda:1", [int(11e9)])[0] == 1
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


def planned(run: Run, corpus: Any) -> PlannedRun:
    symbols = corpus.alphabet.size
    flops = BUDGET_MEASURES["flops"](run.record.config, symbols, CharLM)
    return PlannedRun(
        run.record.config, run.path, *count_parameters_and_state(run.record.config, symbols), flops
    )


@pytest.mark.parametrize("cell", ["gru", "matrix-lstm"])
def test_a_run_takes_no_more_disk_than_was_said(tmp_path: Path, book: Path, cell: str) -> None:
    settings = {**TINY, "hidden_size": 64, "max_steps": 60, "eval_every": 20, "cell": cell}
    corpus = load_corpus([str(book)], validate_config(settings))
    path = run_path(validate_config(settings), corpus.record, tmp_path)
    run, _, config = make_run(path, book, **settings)
    nothing = PlannedRun(
        config, tmp_path / "none", *count_parameters_and_state(config, corpus.vocabulary.size), 1
    )
    whole = cost_estimate.estimate_disk(nothing, corpus)
    learner, _ = restore_trainer(run, "cpu", config, print)
    list(train(run, learner, corpus))
    taken = sum(file.stat().st_size for file in run.path.rglob("*") if file.is_file())
    written = (run.path / "metrics.jsonl").stat().st_size
    assert len(run.checkpoints) >= 2 and written <= 60 * cost_estimate.METRICS_BYTES_PER_UPDATE
    assert whole / 6 < taken < whole
    assert cost_estimate.estimate_disk(planned(run, corpus), corpus) == whole - taken
    run.write_report({"format": 3})
    assert cost_estimate.estimate_disk(planned(run, corpus), corpus) == 0


def test_a_disk_that_is_too_small_is_said_before_anything_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=5_000_000)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda place: (place.stat(), usage)[1])
    cost_estimate.check_disk_space(tmp_path / "not" / "there", 5_000_000)
    with pytest.raises(StorageError, match="need about 6.0 MB at .*, and 5.0 MB are free there"):
        cost_estimate.check_disk_space(tmp_path / "not" / "there", 6_000_000)


WORDS = ["--cells", "rnn,gru", "--seeds", 2, "--params", 30_000, "--embedding-dim", 8]
WORDS += [
    "--batch-size",
    4,
    "--seq-len",
    16,
    "--max-steps",
    20,
    "--kernel",
    "loop",
    "--no-transformer",
]
WORDS += ["--trials", 0]


def test_a_plan_names_every_run_and_begins_none(
    tmp_path: Path, book: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = [book, *WORDS, "--match", "state", "--out", out]
    done = charlm("compare-cells", *words, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert not {"runs", "logs", "report.json"} & {path.name for path in out.iterdir()}
    assert [(run["cell"], run["seed"], run["status"]) for run in plan["runs"]] == [
        *(("rnn", 0, "to do"), ("gru", 0, "to do"), ("rnn", 1, "to do"), ("gru", 1, "to do"))
    ]
    assert len({cell["state_size"] for cell in plan["cells"]}) == 1
    assert all(run["seconds"] > plan["starting"] and run["memory"] > 1e8 for run in plan["runs"])
    assert 0.5 < plan["starting"] < 60  # PyTorch alone takes a second
    assert plan["left"]["runs"] == 4
    assert plan["left"]["disk"] == sum(run["disk"] for run in plan["runs"])
    show.print_cost_estimate(plan)
    shown = capsys.readouterr().out
    assert all(len(line) <= 80 for line in shown.splitlines()) and "4 runs are left: " in shown
    assert shown.startswith(f"All have {plan['equal']['amount']} floats of state")
    assert b"note: there can be no verdict: 6 seeds or more are needed, there are 2" in done.stderr
    # It is what is then done.
    done = charlm("compare-cells", *words, "--cells", "rnn", "--seeds", 1, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [path.name for path in (out / "runs").iterdir()] == [
        plan["runs"][0]["run"].removeprefix("runs/")
    ]
    assert report["equal"]["measure"] == "state" and report["rows"][0]["residual"] == 0
