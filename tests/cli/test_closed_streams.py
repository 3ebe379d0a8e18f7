"""Tests of standard streams that the parent process has closed, and of far too many threads."""

import os
from pathlib import Path

import pytest
from conftest import charlm
from forked import Done, run, run_script

from charlm.errors import ConfigError
from charlm.execution import device

SMALL = ["--hidden-size", 8, "--embedding-dim", 4, "--batch-size", 4, "--seq-len", 16]
SMALL += ["--max-steps", 2, "--kernel", "loop"]
CLOSE = """
import os, sys
for number in map(int, sys.argv[1]):
    os.close(number)
    setattr(sys, ("stdin", "stdout", "stderr")[number], None)
sys.argv[1:] = sys.argv[2:]
from charlm.__main__ import main
main()
"""


@pytest.fixture(scope="module")
def closing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "close.py"
    path.write_text(CLOSE)
    return path


@pytest.mark.slow
def test_no_file_takes_the_place_of_a_closed_stream(
    closing: Path, tmp_path: Path, book: Path
) -> None:
    """Otherwise results, messages or those of a library are written into it."""
    words = ["train", book, *SMALL, "--run"]
    assert charlm(*words, tmp_path / "run").returncode == 0
    names = ("metrics.jsonl", "checkpoints/step-00000002/model.safetensors")
    for numbers in ("012", "12", "0"):
        path = tmp_path / numbers
        assert run_script(closing, numbers, *words, path).returncode == 0
        for name in names:
            assert (path / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["sample", "-p", "-", "-n", "3"], 66),
        (["sample", "--interactive"], 66),
        (["sample", "-n", "3"], 0),
        (["eval"], 0),
        (["clean"], 0),
        (["runs"], 0),
    ],
)
def test_closed_input_is_missing_input(
    words: list[str], code: int, closing: Path, trained: Path
) -> None:
    done = run_script(closing, "0", words[0], trained, *words[1:])
    assert done.returncode == code, done.stderr
    if code:
        assert done.stderr.startswith(b"charlm: cannot read standard input: it is closed. Try ")
    for numbers in ("01", "012"):
        assert run_script(closing, numbers, words[0], trained, *words[1:]).returncode == code


def test_far_too_many_threads_are_refused(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def threads(number: int) -> Done:
        return charlm("eval", trained, "--threads", number)

    for number in (0, 1025, 1048576):
        assert threads(number).returncode == 2
    monkeypatch.setattr(device, "available_cores", lambda: 2)
    device.check_threads(8)
    with pytest.raises(ConfigError, match=r"cannot use --threads 9: .* 2 cores. Try --threads 2"):
        device.check_threads(9)


def test_variable_that_asks_for_too_many_threads_is_refused() -> None:
    for value, code in (("1048576", 78), ("4,99999", 78), ("2", 0), ("many", 0), ("", 0)):
        done = run(["exit-codes"], environ={**os.environ, "OMP_NUM_THREADS": value})
        assert done.returncode == code, value
        assert code == 0 or done.stderr.endswith(b"Try unset OMP_NUM_THREADS\n")
