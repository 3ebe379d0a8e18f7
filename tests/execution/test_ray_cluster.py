"""Tests of the Ray executor and its dispatcher, and of a comparison that loses a machine."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import charlm, start_charlm, wait_until

from charlm.errors import ClusterError, ConfigError
from charlm.execution import ray_cluster
from charlm.execution.executor import iter_job_states
from charlm.execution.jobs import Job
from charlm.results.jobs import JobProgress
from charlm.runs.metrics import iter_events
from charlm.storage.lock import exclusive_lock

OPTIONS = ["--cells", "rnn", "--seeds", 2, "--params", 30_000, "--embedding-dim", 8]
OPTIONS += ["--batch-size", 4, "--seq-len", 16, "--max-steps", 2000, "--save-every", 0.3]
OPTIONS += ["--log-every", 0.2, "--lr", 0.006, "--baselines", "none", "--no-memory"]
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


@contextmanager
def fake_cluster(
    script: str, directory: Path, patch: pytest.MonkeyPatch, device: str = "auto", jobs: int = 0
) -> Iterator[ray_cluster.RayExecutor]:
    """Connect to a dispatcher that is played by a script."""
    head = "import json, sys\ndef send(**message): print(json.dumps(message), flush=True)\n"
    patch.setattr(ray_cluster, "DISPATCHER_COMMAND", [sys.executable, "-c", head + script])
    with ray_cluster.connect("head:6379", device, jobs, directory) as executor:
        yield executor


def test_exit_codes_become_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = """
send(cpus=3)
for line in sys.stdin:
    task = json.loads(line)
    send(number=task["number"], code={"good": 0, "bad": 76}[task["argv"][0]])
"""
    names = ["good", "bad", "good", "good"]
    jobs = [Job(f"{n}", tmp_path / f"{n}", [name], JobProgress) for n, name in enumerate(names)]
    with fake_cluster(script, tmp_path, monkeypatch) as executor:
        assert (executor.capacity(), executor.description) == (3, "cpu in the cluster at head:6379")
        *_, states = iter_job_states(jobs, tmp_path, executor, lambda: False)
    assert [state.status for state in states] == ["finished", "diverged", "finished", "finished"]


def test_stopping_waits_until_jobs_have_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
import time
send(cpus=1)
task = json.loads(sys.stdin.readline())
assert not sys.stdin.read()
time.sleep(0.3)
open(task["shared"] + "/saved", "w").close()
send(number=task["number"], code=143)
"""
    stops = iter([False, False, True, True])
    with fake_cluster(script, tmp_path, monkeypatch) as executor:
        job = Job("rnn seed 0", tmp_path / "x", ["train"], JobProgress)
        list(iter_job_states([job], tmp_path, executor, lambda: next(stops)))
        assert (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import time; time.sleep(600)", "no Ray cluster answers at head:6379 within 1 s"),
        ("send(failure='there is none')", "there is none"),
        ("sys.exit(134)", "the cluster at head:6379 is lost"),
        (
            "send(cpus=1); sys.stdin.readline(); sys.exit(134)",
            "run the same command again to continue",
        ),
        ("send(cpus=1); import time; time.sleep(600)", "the cluster at head:6379 is lost"),
        ("send(cpus=1); sys.stdin.readline(); send(number=1, failure='a')", "a"),
        ("send(cpus=2); sys.stdin.readline(); send(number=1, failure='b'); sys.stdin.read()", "b"),
    ],
)
def test_refusing_or_lost_cluster_is_an_error_of_one_line(
    script: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "CLUSTER_TIMEOUT", 1.0 if "sleep" in script else 300.0)
    start = time.monotonic()
    with (
        pytest.raises(ClusterError, match=message) as raised,
        fake_cluster(script, tmp_path, monkeypatch) as executor,
    ):
        jobs = [Job(name, tmp_path / name, ["train"], JobProgress) for name in ("one", "other")]
        list(iter_job_states(jobs, tmp_path, executor, lambda: False))
    assert "\n" not in str(raised.value) and raised.value.code == 69
    assert time.monotonic() - start < 300


def test_jobs_that_share_a_gpu_request_a_fraction_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
send(cpus=64, gpus=2)
for line in sys.stdin:
    send(number=1, code=round(100 * json.loads(line)["gpus"]))
"""
    with fake_cluster(script, tmp_path, monkeypatch, jobs=4) as executor:
        assert (executor.capacity(), executor.device) == (8, "cuda")
        job = Job("rnn seed 0", tmp_path / "x", ["train"], JobProgress)
        assert executor.start(job, tmp_path / "x.log").wait() == 25
    with fake_cluster(script, tmp_path, monkeypatch, "cpu", 4) as executor:
        assert executor.capacity() == 4
        assert executor.start(job, tmp_path / "x.log").wait() == 0
    with (
        pytest.raises(ConfigError, match="Ray chooses"),
        fake_cluster(script, tmp_path, monkeypatch, "cuda:1"),
    ):
        pass
    with (
        pytest.raises(ConfigError, match="no GPU"),
        fake_cluster("send(cpus=1); sys.stdin.read()", tmp_path, monkeypatch, "cuda"),
    ):
        pass


@pytest.mark.slow
def test_impossible_options_of_a_cluster_are_refused_first(tmp_path: Path, book: Path) -> None:
    done = charlm("compare-cells", book, "--ray-address", "head:1", "--out", tmp_path / "o")
    assert done.returncode == 78 and b"--executor ray" in done.stderr
    for option in (["--dry-run"], ["--match", "time"]):
        words = ["compare-cells", book, "--executor", "ray", *option, "--out", tmp_path / "o"]
        done = charlm(*words)
        assert done.returncode == 78 and b"on this machine" in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


def test_remote_job_is_resumed_where_it_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
send(cpus=1)
task = json.loads(sys.stdin.readline())
open(task["shared"] + "/task", "w").write(json.dumps(task))
send(number=1, code=0)
"""
    with fake_cluster(script, tmp_path, monkeypatch) as executor:
        job = Job("rnn seed 0", tmp_path / "x", ["train"], JobProgress, ["train", "--resume"])
        assert executor.start(job, tmp_path / "x.log").wait() == 0
    task = json.loads((tmp_path / "task").read_text())
    assert (task["argv"], task["resume_argv"]) == (["train"], ["train", "--resume"])
    assert task["marker"] == str(tmp_path / "x" / "run.json")
    assert job.next_argv() == ["train"]
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "run.json").touch()
    assert job.next_argv() == ["train", "--resume"]


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        ("ray.exceptions.AuthenticationError: RPC error: InvalidAuthToken", "requires a token"),
        ("timed out", "no Ray cluster answers. Start one with ray start --head"),
    ],
)
def test_missing_token_differs_from_missing_cluster(
    dispatch: Any, monkeypatch: pytest.MonkeyPatch, cause: str, message: str
) -> None:
    def init(**_: Any) -> None:
        raise ConnectionError("Failed to connect") from RuntimeError(cause)

    monkeypatch.setattr(dispatch.ray, "init", init)
    assert message in dispatch.connect_error("head:6379")


def remote_job(
    path: Path, argv: Sequence[str] = ("--version",), **changes: Any
) -> ray_cluster.RemoteJob:
    fields = {"number": 1, "name": "rnn seed 0", "argv": argv, "resume_argv": (), "gpus": 0.0}
    fields |= {"log": str(path / "log"), "marker": str(path / "run.json")}
    fields |= {"directory": str(path), "shared": str(path)}
    fields |= {"fingerprint": ray_cluster.environment_fingerprint()}
    return ray_cluster.RemoteJob(**{**fields, **changes})


@pytest.fixture
def dispatch() -> Any:
    return pytest.importorskip("charlm.execution.ray_dispatcher", reason="Ray is not installed")


def test_machine_that_sees_no_lock_runs_nothing(tmp_path: Path, dispatch: Any) -> None:
    missing = tmp_path / "missing"
    for directory in (missing, tmp_path):
        code, failure = dispatch.run_job(remote_job(directory))
        assert code == 0 and f"does not see the lock of {directory}" in failure
    (tmp_path / "lock").touch()  # and nobody holds it
    assert "file locks between machines" in dispatch.run_job(remote_job(tmp_path))[1]
    with exclusive_lock(tmp_path):
        _, failure = dispatch.run_job(remote_job(tmp_path, directory=str(missing)))
        assert f"{missing}, under the same paths" in failure
        other = "charlm 0 with torch 0"
        _, failure = dispatch.run_job(remote_job(tmp_path, fingerprint=other))
        assert f"not {other}. Install the same versions" in failure
        assert not (tmp_path / "log").exists()
        assert dispatch.run_job(remote_job(tmp_path)) == (0, "")


class FakeProcess:
    """A process that ends with this code; None: Ray interrupts first."""

    def __init__(self, code: int | None) -> None:
        self.code, self.calls = code, ""

    def poll(self) -> int | None:
        if self.code is None:
            raise KeyboardInterrupt
        return self.code

    def terminate(self) -> None:
        self.calls += "terminate "

    def wait(self) -> None:
        self.calls += "wait"


def test_job_locked_by_another_machine_is_retried(
    tmp_path: Path, dispatch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = iter([75, 75, 76])
    naps: list[float] = []
    commands: list[Sequence[str]] = []

    def start(argv: Sequence[str], *_: Any) -> FakeProcess:
        commands.append(argv)
        (tmp_path / "run.json").touch()
        return FakeProcess(next(codes))

    monkeypatch.setattr(dispatch, "start_worker", start)
    monkeypatch.setattr(dispatch.time, "sleep", naps.append)
    job = remote_job(tmp_path, ["train"], resume_argv=["train", "--resume"])
    with exclusive_lock(tmp_path):
        assert dispatch.run_job(job) == (76, "")
        assert commands == [["train"], ["train", "--resume"], ["train", "--resume"]]
        assert naps == [dispatch.RETRY_INTERVAL] * 2
        codes = iter([75] * 1000)
        assert dispatch.run_job(remote_job(tmp_path)) == (75, "")
    assert sum(naps[2:]) == dispatch.LOCK_TIMEOUT


def test_remote_job_begun_by_another_machine_is_continued(
    tmp_path: Path, dispatch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = iter([73, 0, 73])
    commands: list[Sequence[str]] = []

    def start(argv: Sequence[str], *_: Any) -> FakeProcess:
        commands.append(argv)
        (tmp_path / "run.json").touch()
        return FakeProcess(next(codes))

    monkeypatch.setattr(dispatch, "start_worker", start)
    job = remote_job(tmp_path, ["train"], resume_argv=["train", "--resume"])
    with exclusive_lock(tmp_path):
        assert dispatch.run_job(job) == (0, "")
        assert commands == [["train"], ["train", "--resume"]]
        assert dispatch.run_job(job) == (73, "")


def test_interrupted_job_is_terminated_and_waited_for(dispatch: Any) -> None:
    process = FakeProcess(None)
    with pytest.raises(KeyboardInterrupt):
        dispatch.wait_for_exit(process)
    assert process.calls == "terminate wait"


def test_only_a_job_with_a_gpu_sees_one(
    tmp_path: Path, dispatch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = []

    def start(*args: Any) -> FakeProcess:
        devices.append(args[-1].get("CUDA_VISIBLE_DEVICES"))
        return FakeProcess(0)

    monkeypatch.setattr(dispatch, "start_worker", start)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")  # as Ray has set it
    with exclusive_lock(tmp_path):
        for gpus in (0.0, 0.5):
            assert dispatch.run_job(remote_job(tmp_path, gpus=gpus)) == (0, "")
    assert devices == ["", "3"]


@pytest.fixture
def nodes() -> Iterator["subprocess.Popen[str]"]:
    """Start a Ray cluster of two nodes on this machine."""
    words = [sys.executable, str(Path(__file__).parent.parent / "two_nodes.py")]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    with subprocess.Popen(
        words, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        yield process
        assert process.stdin
        process.stdin.close()


@pytest.mark.ray
@pytest.mark.slow
@needs_ray
def test_killed_node_does_not_change_the_report(
    tmp_path: Path, book: Path, nodes: "subprocess.Popen[str]"
) -> None:
    assert nodes.stdin and nodes.stdout
    one, two = tmp_path / "one", tmp_path / "two"
    serial = charlm("compare-cells", book, *OPTIONS, "--jobs", 1, "--out", one, "--json")
    assert serial.returncode == 0, serial.stderr
    address = nodes.stdout.readline().strip()
    words = ["compare-cells", book, *OPTIONS, "--executor", "ray", "--ray-address", address]
    words += ["--out", two, "--json"]

    first = start_charlm(*words)
    nodes.stdin.write("kill\n")
    nodes.stdin.flush()
    killed = Path(nodes.stdout.readline().strip())
    wait_until(lambda: "resumed" in starts_and_stops(killed))  # by itself, on the other node
    first.send_signal(signal.SIGTERM)
    stdout, stderr = first.communicate()
    assert first.returncode == 143, stderr
    assert json.loads(stdout)["error"]["exit_code"] == 143
    assert b"all is saved; run the same command again to continue" in stderr
    assert b"2 in parallel on cpu in the cluster at" in stderr
    assert b"raylet" not in stderr and b"Ray " not in stderr

    again = charlm(*words)
    assert again.returncode == 0, again.stderr
    assert again.stdout == serial.stdout
    assert (one / "report.json").read_bytes() == (two / "report.json").read_bytes()
    # the signal may reach the run only after its last step
    events = starts_and_stops(killed)
    assert events[:2] == ["started", "resumed"] and events[2:] in ([], ["interrupted", "resumed"])
    for run in killed.parent.iterdir():  # each recorded step was done once, or again
        lines = (run / "metrics.jsonl").read_text().splitlines()
        steps = [json.loads(line)["step"] for line in lines if '"bits"' in line]
        assert steps == list(range(1, 2001))


def starts_and_stops(run: Path) -> list[str]:
    """Return the events of starts and stops; each start after the first is from a checkpoint."""
    events = list(iter_events(run))
    assert all(event.step > 0 for event in events if event.event == "resumed")
    return [e.event for e in events if e.event in ("started", "resumed", "interrupted")]
