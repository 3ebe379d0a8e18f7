"""Comparisons in a cluster: a machine may be lost, and the table is the same."""

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
from conftest import charlm, command

from charlm.errors import ClusterError, ConfigError
from charlm.execution import ray_cluster
from charlm.execution.jobs import Job, JobProgress, run_jobs
from charlm.storage.lock import exclusive_lock

WORDS = [
    "--cells",
    "rnn",
    "--seeds",
    2,
    "--params",
    30_000,
    "--embedding-dim",
    8,
    "--batch-size",
    4,
]
WORDS += ["--seq-len", 16, "--max-steps", 2000, "--save-every", 0.3, "--log-every", 0.2]
WORDS += ["--no-transformer", "--trials", 0]
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


# what stands between us and Ray, played by a script


@contextmanager
def played(
    script: str, place: Path, patch: pytest.MonkeyPatch, device: str = "auto", jobs: int = 0
) -> Iterator[ray_cluster.RayExecutor]:
    head = "import json, sys\ndef tell(**told): print(json.dumps(told), flush=True)\n"
    patch.setattr(ray_cluster, "DISPATCHER_COMMAND", [sys.executable, "-c", head + script])
    with ray_cluster.connect("head:6379", device, jobs, place) as one:
        yield one


def test_jobs_in_a_cluster_end_as_they_would_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
tell(cpus=3)
for line in sys.stdin:
    task = json.loads(line)
    tell(number=task["number"], code={"good": 0, "bad": 76}[task["words"][0]])
"""
    names = ["good", "bad", "good", "good"]
    jobs = [Job(f"{n}", tmp_path / f"{n}", [name], JobProgress) for n, name in enumerate(names)]
    with played(script, tmp_path, monkeypatch) as machines:
        assert (machines.capacity(), machines.description) == (3, "cpu in the cluster at head:6379")
        *_, states = run_jobs(jobs, tmp_path, machines, lambda: 0)
    assert [state.status for state in states] == ["done", "diverged", "done", "done"]


def test_stopping_tells_the_cluster_and_waits_until_all_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
import time
tell(cpus=1)
task = json.loads(sys.stdin.readline())
assert not sys.stdin.read()
time.sleep(0.3)
open(task["shared"] + "/saved", "w").close()
tell(number=task["number"], code=143)
"""
    stops = iter([0, 0, 1, 1])
    with played(script, tmp_path, monkeypatch) as machines:
        job = Job("rnn seed 0", tmp_path / "x", ["train"], JobProgress)
        list(run_jobs([job], tmp_path, machines, lambda: next(stops)))
        assert (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("import time; time.sleep(60)", "no Ray cluster answers at head:6379 within 1 s"),
        ("tell(why='there is none')", "there is none"),
        ("sys.exit(134)", "the cluster at head:6379 is lost"),
        ("tell(cpus=1); sys.stdin.readline(); sys.exit(134)", "the same command goes on"),
        ("tell(cpus=1); import time; time.sleep(60)", "the cluster at head:6379 is lost"),
        ("tell(cpus=1); sys.stdin.readline(); tell(number=1, why='a')", "a"),
        ("tell(cpus=2); sys.stdin.readline(); tell(number=1, why='b'); sys.stdin.read()", "b"),
    ],
)
def test_a_cluster_that_refuses_or_is_lost_says_so_in_a_line(
    script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "CLUSTER_TIMEOUT", 1.0 if "sleep" in script else 30.0)
    began = time.monotonic()
    with (
        pytest.raises(ClusterError, match=said) as raised,
        played(script, tmp_path, monkeypatch) as machines,
    ):
        jobs = [Job(name, tmp_path / name, ["train"], JobProgress) for name in ("one", "other")]
        list(run_jobs(jobs, tmp_path, machines, lambda: 0))
    assert "\n" not in str(raised.value) and raised.value.code == 69
    assert time.monotonic() - began < 30


def test_runs_that_share_a_gpu_ask_for_their_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
tell(cpus=64, gpus=2)
for line in sys.stdin:
    tell(number=1, code=round(100 * json.loads(line)["gpus"]))
"""
    with played(script, tmp_path, monkeypatch, jobs=4) as machines:
        assert (machines.capacity(), machines.device) == (8, "cuda")
        job = Job("rnn seed 0", tmp_path / "x", ["train"], JobProgress)
        assert machines.start(job, tmp_path / "x.log").wait() == 25
    with played(script, tmp_path, monkeypatch, "cpu", 4) as machines:
        assert machines.capacity() == 4
        assert machines.start(job, tmp_path / "x.log").wait() == 0
    with (
        pytest.raises(ConfigError, match="Ray chooses"),
        played(script, tmp_path, monkeypatch, "cuda:1"),
    ):
        pass
    with (
        pytest.raises(ConfigError, match="no GPU"),
        played("tell(cpus=1); sys.stdin.read()", tmp_path, monkeypatch, "cuda"),
    ):
        pass


def test_options_of_a_cluster_that_cannot_be_are_refused_before_anything_is_made(
    tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = charlm("compare-cells", book, "--ray-address", "head:1", "--out", tmp_path / "o")
    assert done.returncode == 78 and b"say --executor ray" in done.stderr
    for timed in (["--dry-run"], ["--match", "seconds"]):
        done = charlm("compare-cells", book, "--executor", "ray", *timed, "--out", tmp_path / "o")
        assert done.returncode == 78 and b"times the cells on this machine" in done.stderr
    assert not list(tmp_path.iterdir())


# one of the machines


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        ("ray.exceptions.AuthenticationError: RPC error: InvalidAuthToken", "wants its token, and"),
        ("timed out", "no Ray cluster is there: start one with ray start --head, or name another"),
    ],
)
def test_a_cluster_that_wants_a_token_is_told_from_none(
    dispatch: Any, monkeypatch: pytest.MonkeyPatch, cause: str, said: str
) -> None:
    def init(**_: Any) -> None:
        raise ConnectionError("Failed to connect") from RuntimeError(cause)

    monkeypatch.setattr(dispatch.ray, "init", init)
    assert said in dispatch.refused("head:6379")


def task(
    place: Path, words: Sequence[str] = ("--version",), **changed: Any
) -> ray_cluster.RemoteJob:
    told = {"number": 1, "name": "rnn seed 0", "words": words, "log": str(place / "log")}
    told |= {
        "directory": str(place),
        "shared": str(place),
        "made_by": ray_cluster.environment_fingerprint(),
    }
    return ray_cluster.RemoteJob(**{**told, "gpus": 0.0, **changed})


@pytest.fixture
def dispatch() -> Any:
    return pytest.importorskip("charlm.execution.ray_dispatcher", reason="Ray is not installed")


def test_a_machine_does_nothing_where_it_does_not_see_who_writes(
    tmp_path: Path, dispatch: Any
) -> None:
    for place in (tmp_path / "not there", tmp_path):
        code, why = dispatch.attempt(task(place))
        assert code == 0 and f"does not see that {place} is being written" in why
    (tmp_path / "lock").touch()  # and nobody holds it
    assert "file locks between machines" in dispatch.attempt(task(tmp_path))[1]
    with exclusive_lock(tmp_path):
        _, why = dispatch.attempt(task(tmp_path, directory=str(tmp_path / "not there")))
        assert f"{tmp_path / 'not there'}, under the same paths" in why
        _, why = dispatch.attempt(task(tmp_path, made_by="charlm 0 with torch 0"))
        assert "and not charlm 0 with torch 0: have the same everywhere" in why
        assert not (tmp_path / "log").exists()
        assert dispatch.attempt(task(tmp_path)) == (0, "")


class Scripted:
    """A process that ends with this code, unless Ray interrupts first."""

    def __init__(self, code: int | None) -> None:
        self.code, self.told = code, ""

    def poll(self) -> int | None:
        if self.code is None:
            raise KeyboardInterrupt
        return self.code

    def terminate(self) -> None:
        self.told += "end "

    def wait(self) -> None:
        self.told += "waited for"


def test_a_run_that_another_machine_still_writes_is_waited_for(
    tmp_path: Path, dispatch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = iter([75, 75, 76])
    naps: list[float] = []
    monkeypatch.setattr(dispatch, "start", lambda *begun: Scripted(next(codes)))
    monkeypatch.setattr(dispatch.time, "sleep", naps.append)
    with exclusive_lock(tmp_path):
        assert dispatch.attempt(task(tmp_path)) == (76, "")
        assert naps == [dispatch.RETRY_INTERVAL] * 2
        codes = iter([75] * 1000)
        assert dispatch.attempt(task(tmp_path)) == (75, "")
    assert sum(naps[2:]) == dispatch.PATIENCE


def test_what_ray_interrupts_saves_first(dispatch: Any) -> None:
    process = Scripted(None)
    with pytest.raises(KeyboardInterrupt):
        dispatch.ended(process)
    assert process.told == "end waited for"


def test_only_who_was_given_a_gpu_sees_one(
    tmp_path: Path, dispatch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def start(*begun: Any) -> Scripted:
        seen.append(begun[-1].get("CUDA_VISIBLE_DEVICES"))
        return Scripted(0)

    monkeypatch.setattr(dispatch, "start", start)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")  # as Ray has set it
    with exclusive_lock(tmp_path):
        for gpus in (0.0, 0.5):
            assert dispatch.attempt(task(tmp_path, gpus=gpus)) == (0, "")
    assert seen == ["", "3"]


# the real thing


@pytest.fixture
def nodes() -> Iterator["subprocess.Popen[str]"]:
    """A Ray cluster on this machine, as two_nodes.py says."""
    words = [sys.executable, str(Path(__file__).with_name("two_nodes.py"))]
    quiet = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    with subprocess.Popen(
        words, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL, text=True, env=quiet
    ) as process:
        yield process
        assert process.stdin
        process.stdin.close()


def until(true: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@needs_ray
def test_a_node_is_killed_and_the_table_is_that_of_the_serial_comparison(
    tmp_path: Path, book: Path, nodes: "subprocess.Popen[str]"
) -> None:
    assert nodes.stdin and nodes.stdout
    serial = charlm("compare-cells", book, *WORDS, "--jobs", 1, "--out", tmp_path / "one", "--json")
    assert serial.returncode == 0, serial.stderr
    address = nodes.stdout.readline().strip()
    words = ["compare-cells", book, *WORDS, "--executor", "ray", "--ray-address", address]
    words += ["--out", tmp_path / "two", "--json"]

    first = subprocess.Popen(command(*words), stdout=-1, stderr=-1)
    nodes.stdin.write("kill\n")
    nodes.stdin.flush()
    killed = Path(nodes.stdout.readline().strip())
    until(lambda: "resumed" in happened(killed))  # by itself, on the other node
    first.send_signal(signal.SIGTERM)
    stdout, stderr = first.communicate(timeout=60)
    assert first.returncode == 143, stderr
    assert stdout == b"" and b"all is saved; the same command goes on" in stderr
    assert b"2 side by side on cpu in the cluster at" in stderr
    assert b"raylet" not in stderr and b"Ray " not in stderr

    again = subprocess.run(command(*words), capture_output=True, check=False)
    assert again.returncode == 0, again.stderr
    assert again.stdout == serial.stdout
    one, two = ((tmp_path / name / "report.json").read_bytes() for name in ("one", "two"))
    assert one == two
    assert happened(killed) == ["began", "resumed", "stopped", "resumed"]
    for run in killed.parent.iterdir():  # an update that is on record was done once, or anew
        lines = (run / "metrics.jsonl").read_text().splitlines()
        updates = [json.loads(line)["update"] for line in lines if '"bits"' in line]
        assert updates == list(range(1, 2001))


def happened(run: Path) -> list[str]:
    """Its starts and stops, each start after the first from a checkpoint."""
    lines = (run / "events.jsonl").read_text().splitlines(keepends=True)
    events = [json.loads(line) for line in lines if line.endswith("\n")]
    assert all(one["update"] > 0 for one in events if one["event"] == "resumed")
    return [one["event"] for one in events if one["event"] not in ("saved", "validated")]
