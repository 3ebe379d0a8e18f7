"""Executor: jobs that are killed are restarted, and those that fail end all."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from charlm.errors import CharlmError
from charlm.execution import executor as executors
from charlm.execution.executor import makespan
from charlm.execution.jobs import Job
from charlm.results.jobs import JobProgress, JobState


class ScriptedExecutor:
    """An executor whose workers end at once, with these exit codes."""

    description = "nowhere"

    def __init__(self, codes: list[int]) -> None:
        self.codes = codes

    def capacity(self) -> int:
        return 1

    def start(self, _: Job, log: Path) -> "ScriptedExecutor":
        log.write_text("charlm: the last words\n")
        return self

    def poll(self) -> int:
        return self.codes.pop(0)

    def terminate(self) -> None: ...

    def wait(self) -> int:
        return 0


def test_killed_worker_is_restarted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors.time, "sleep", lambda _: None)
    jobs = [Job(name, tmp_path / name, [], JobProgress) for name in ("one", "other")]

    def final_states(codes: list[int]) -> list[JobState]:
        executor = ScriptedExecutor(codes)
        *_, states = executors.iter_job_states(jobs, tmp_path, executor, lambda: False)
        return states

    one, other = final_states([-9, 143, -15, 0, 130, 76])
    assert (one.status, one.restarts) == ("finished", 3)
    assert (other.status, other.restarts) == ("diverged", 1)
    for code, number in ((-9, 9), (143, 15)):
        with pytest.raises(CharlmError, match=f"one: its process was killed .*signal {number}"):
            final_states([code] * 4)
    with pytest.raises(CharlmError, match="one: the last words"):
        final_states([74])


def test_job_begun_by_another_process_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors.time, "sleep", lambda _: None)
    job = Job("one", tmp_path / "one", ["train"], JobProgress, ["train", "--resume"])
    commands: list[Sequence[str]] = []

    class RacingExecutor(ScriptedExecutor):
        def start(self, job: Job, log: Path) -> ScriptedExecutor:
            commands.append(job.next_argv())
            return super().start(job, log)

        def poll(self) -> int:
            job.path.mkdir(exist_ok=True)
            (job.path / "run.json").touch()
            return super().poll()

    executor = RacingExecutor([73, 0])
    *_, (state,) = executors.iter_job_states([job], tmp_path, executor, lambda: False)
    assert (state.status, state.restarts) == ("finished", 0)
    assert commands == [["train"], ["train", "--resume"]]
    with pytest.raises(CharlmError, match="the last words") as raised:
        list(executors.iter_job_states([job], tmp_path, RacingExecutor([73]), lambda: False))
    assert raised.value.code == 73


def test_failed_worker_ends_all_with_its_message_and_code(tmp_path: Path) -> None:
    job = Job("lstm seed 0", tmp_path / "runs" / "x", [], JobProgress)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "x.log").write_text("note\ncharlm: cannot write here\n")
    assert executors._final_status(0, job, tmp_path) == "finished"
    assert executors._final_status(76, job, tmp_path) == "diverged"
    with pytest.raises(CharlmError, match="lstm seed 0: cannot write here") as raised:
        executors._final_status(74, job, tmp_path)
    assert raised.value.code == 74
    with pytest.raises(CharlmError) as raised:
        executors._final_status(-9, job, tmp_path)
    assert raised.value.code == 70


def test_makespan_ends_with_the_last_job() -> None:
    assert makespan([3, 1, 1, 5, 2], 1) == 12
    assert makespan([3, 1, 1, 5, 2], 2) == 7  # 3 then 2 beside 1, 1, 5
    assert makespan([3, 1, 1, 5, 2], 9) == 5
    assert makespan([], 2) == 0
