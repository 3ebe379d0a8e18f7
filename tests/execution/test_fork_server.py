"""Tests of the fork server: its workers are as `start_worker` starts them."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import wait_until

from charlm.errors import CharlmError, DataError
from charlm.execution import forked_workers
from charlm.execution.forked_workers import ForkedWorker, running_server, start_local_worker
from charlm.execution.jobs import start_worker

pytestmark = pytest.mark.skipif(
    not forked_workers.CAN_FORK, reason="workers are new processes here"
)

TRAIN = ["--cell", "rnn", "--kernel", "loop", "--hidden-size", "4", "--batch-size", "1"]
TRAIN += ["--seq-len", "2", "--max-steps", "1000000"]


def read_proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


def start_training(directory: Path) -> forked_workers.ForkedWorker:
    """Return a worker that trains without end, after its first step."""
    (directory / "text").write_text("to be or not to be, " * 9)
    run, log = directory / "run", directory / "log"
    argv = ["train", str(directory / "text"), "--run", str(run), *TRAIN]
    worker = start_local_worker(argv, log, directory)
    assert isinstance(worker, forked_workers.ForkedWorker)
    metrics = run / "metrics.jsonl"
    wait_until(lambda: metrics.exists() and metrics.stat().st_size > 0)
    return worker


def test_server_has_one_thread_and_workers_their_log_and_exit_code(tmp_path: Path) -> None:
    worker = start_local_worker(["train", "--nothing"], tmp_path / "log", tmp_path)
    assert worker.wait() == 2
    assert (tmp_path / "log").read_text().startswith("charlm: no such option: --nothing")
    assert worker.wait() == 2  # again
    assert "Threads:\t1\n" in read_proc(running_server().process.pid, "status")


def test_worker_has_its_session_and_saves_when_told_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARLM_TEST", "of this job")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "not for workers")
    worker = start_training(tmp_path)
    assert os.getsid(worker.pid) == worker.pid
    words = read_proc(worker.pid, "cmdline").split("\0")
    assert words[1:4] == ["-m", "charlm", "train"] and str(tmp_path / "run") in words
    assert os.readlink(f"/proc/{worker.pid}/cwd") == str(tmp_path)
    assert worker.poll() is None
    worker.terminate()
    assert worker.wait() == 143
    assert "saved after step" in (tmp_path / "log").read_text()
    assert any((tmp_path / "run" / "checkpoints").glob("step-*"))


def test_forked_process_has_a_server_of_its_own(tmp_path: Path) -> None:
    """Two processes that read from one server would take each other's replies, and wait forever."""
    words = ["train", "--nothing"]
    first = start_local_worker(words, tmp_path / "log", tmp_path)
    assert isinstance(first, ForkedWorker) and first.wait() == 2
    child = os.fork()
    if not child:
        code = 1
        with suppress(BaseException):
            own = start_local_worker(words, tmp_path / "own", tmp_path)
            assert own.wait() == 2 and running_server() is not first.server
            assert first.server.connection.fileno() == -1 and first.server.has_ended
            code = 0
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert start_local_worker(words, tmp_path / "log", tmp_path).wait() == 2
    assert running_server() is first.server


@pytest.mark.slow
def test_killed_worker_and_killed_server_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    worker = start_training(tmp_path / "one")
    os.kill(worker.pid, signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL

    (tmp_path / "other").mkdir()
    orphan = start_training(tmp_path / "other")
    server = running_server()
    server.process.kill()
    assert orphan.wait() == -signal.SIGKILL  # and it is gone by then:
    assert any((tmp_path / "other" / "run" / "checkpoints").glob("step-*"))
    assert start_local_worker(["train", "--nothing"], tmp_path / "log", tmp_path).wait() == 2
    assert running_server() is not server


def test_worker_that_does_not_train_yet_ends_with_the_server(tmp_path: Path) -> None:
    """It waits for a text, and only the kernel can tell it that its parent was killed."""
    fifo, log = tmp_path / "fifo", tmp_path / "log"
    os.mkfifo(fifo)
    worker = start_local_worker(["train", str(fifo), "--run", str(tmp_path / "r")], log, tmp_path)
    writers: list[int] = []

    def is_read() -> bool:
        with suppress(OSError):  # ENXIO: nobody reads
            writers.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        return bool(writers)

    wait_until(is_read)
    running_server().process.kill()
    assert worker.wait() == -signal.SIGKILL  # its own code is lost; and it is gone by then:
    assert log.read_text() == "charlm: interrupted\n"
    os.close(writers[0])


def test_log_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """A comparison may come from somebody who wants a file elsewhere to be written."""
    (tmp_path / "victim").write_text("as it was")
    (tmp_path / "link").symlink_to("victim")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "logs").symlink_to("elsewhere")
    for log in ("link", "fifo", "elsewhere", "logs/new"):
        with pytest.raises(DataError):
            start_local_worker(["runs"], tmp_path / log, tmp_path)
        with pytest.raises(DataError):
            start_worker(["runs"], tmp_path / log, tmp_path)
    assert (tmp_path / "victim").read_text() == "as it was"
    assert not list((tmp_path / "elsewhere").iterdir())


def test_process_that_nobody_waits_for_has_ended() -> None:
    """A worker stays a zombie if the first process of a container waits for no orphans."""
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert read_proc(process.pid, "stat").split()[2] == "Z"
    assert not forked_workers._is_alive(process.pid) and forked_workers._is_alive(os.getpid())
    process.wait()
    assert not forked_workers._is_alive(process.pid)


def test_server_that_cannot_start_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    server = forked_workers.ForkServer()
    with pytest.raises(CharlmError, match="cannot start workers: .*exit code 1"):
        server.start(["train"], tmp_path / "log", tmp_path)
    server.close()
