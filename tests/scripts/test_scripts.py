"""Scripts: each answers --help; the long measurements work in small and reach their targets."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from forked import run_script

SCRIPTS = Path(__file__).parents[2] / "scripts"
PROGRAMS = sorted(  # the others are modules of these
    path.name for path in SCRIPTS.glob("*.py") if "__main__" in path.read_text()
)


@pytest.mark.parametrize("script", PROGRAMS)
def test_script_answers_help(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run it in this process, which has imported PyTorch, as `python scripts/NAME.py --help`."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setattr("sys.argv", [script, "--help"])
    before = set(sys.modules)
    try:
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(SCRIPTS / script), run_name="__main__")
    finally:
        for name in set(sys.modules) - before:  # other scripts, which it imports
            if (getattr(sys.modules[name], "__file__", "") or "").startswith(str(SCRIPTS)):
                del sys.modules[name]
    output = capsys.readouterr().out
    assert not ended.value.code and output.startswith("usage: "), output
    assert re.search(r"^ +-h, --help", output, re.M) and len(output.splitlines()) > 4, output


@pytest.mark.slow
@pytest.mark.parametrize("vocab", ["chars", "bytes"])
def test_encoding_is_fast_in_bounded_memory(vocab: str) -> None:
    """Hold CPU time to a fifth of the target: two busy cores may be one physical core.

    A loop over characters in Python is ten times slower than that. `make bench` measures the speed.
    In a fresh Python: a child inherits the peak memory of a forked process.
    """
    words = [sys.executable, SCRIPTS / "measure_encoding.py", "--megabytes", "64", "--vocab", vocab]
    output = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    speed = re.search(r"(\d+) MB per second", output)
    memory = re.search(r"memory (\d+) MB", output)
    assert speed and float(speed[1]) > 10, output
    assert memory and float(memory[1]) < 300, output


@pytest.mark.slow
def test_bench_compares_each_cell_with_the_plain_loop() -> None:
    done = run_script(SCRIPTS / "bench.py", "--small", "--pairs", 1)
    output = done.stdout.decode()
    assert "target" in output, done.stderr
    for cell in ("rnn", "gru", "lstm"):
        row = rf"^s {cell} +(?:compiled|native) +\d+ +\d+ +\d+\.\d\d +\d+\.\d\d$"
        assert re.search(row, output, re.M), output
        assert re.search(rf"^  {cell} +\d+ +\d+ +\d+\.\d\d$", output, re.M), output


def test_grammar_script_writes_a_corpus_and_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_grammar(*arguments: object) -> None:
        monkeypatch.setattr("sys.argv", ["grammar.py", *map(str, arguments)])
        runpy.run_path(str(SCRIPTS / "grammar.py"), run_name="__main__")

    path = tmp_path / "corpus.txt"
    run_grammar("write", path, "--distance", 10, "--characters", 500)
    assert json.loads(capsys.readouterr().out)["bits_per_char"] > 0
    assert len(path.read_text()) >= 500 and path.with_suffix(".json").exists()
    with pytest.raises(SystemExit, match="^cannot make a grammar with --distance nan.*$"):
        run_grammar("write", tmp_path / "other.txt", "--distance", "nan")
