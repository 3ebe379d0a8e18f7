"""`charlm tasks`: list, show, train and compare on the command line."""

import json
import math
import re
import signal
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from conftest import charlm, start_charlm, wait_until

from charlm.results.comparison_plan import CostEstimate
from charlm.storage.json_files import unseal_json
from charlm.tasks.base import TASKS

COMPARE = ["tasks", "compare", "adding", "--seeds", 1, "--params", 2600, "--embedding-dim", 8]
COMPARE += ["--lr", 0.02, "--max-steps", 250, "--kernel", "loop", "--log-every", 0.2]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a comparison that was terminated while a curriculum was at its second length."""
    out = tmp_path_factory.mktemp("curricula") / "out"
    process = start_charlm(*COMPARE, "--cells", "gru", "--lengths", "2,3000", "--out", out)
    wait_until(
        lambda: process.poll() is not None or list(out.glob("curricula/*/length-3000.jsonl"))
    )
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate()
    assert process.returncode == 143, stderr
    assert stdout == b"" and b"the same command" in stderr
    assert not (out / "report.json").exists()
    assert list(out.glob("curricula/gru-s0-*/length-2.json"))
    assert not list(out.glob("curricula/*/length-3000.json"))
    return out


@pytest.mark.slow
def test_interrupted_comparison_continues_and_reuses_results(interrupted: Path) -> None:
    out = interrupted

    def results() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in out.glob("curricula/*/length-*.json")}

    before = results()
    arguments = [*COMPARE, "--lengths", "2,3", "--out", out]
    first = charlm(*arguments, "--cells", "gru", "--json")
    assert first.returncode == 0, first.stderr
    report = json.loads(first.stdout)
    assert report == json.loads(unseal_json((out / "report.json").read_bytes(), out))
    assert json.loads((out / "comparison.json").read_text())["kind"] == "task"
    assert report["lengths"] == [2, 3] and report["chance"][0]["loss"] == 1 / 6
    (row,) = report["rows"]
    assert (row["name"], row["seeds"], row["max_solved_length_per_seed"]) == ("gru", [0], [3])
    assert [level["num_survived"] for level in row["levels"]] == [1, 1]
    after = results()
    assert before.items() < after.items() and len(after) == 2

    more = charlm(*arguments, "--cells", "rnn,gru")
    assert more.returncode == 0, more.stderr
    assert after.items() < results().items()
    lines = more.stdout.decode().splitlines()
    assert lines[0].split()[:2] == ["cell", "params"] and all(len(line) <= 80 for line in lines)
    assert {line.split()[0] for line in lines[2:4]} == {"gru", "rnn"}
    assert sum("1/1" in line for line in lines) >= 3, more.stdout.decode()
    assert b"all curricula" in more.stderr
    assert (out / "report.html").read_text().startswith("<!")
    assert json.loads((out / "timing.json").read_text())["cells"].keys() == {"gru", "rnn"}


def test_train_prints_levels_and_continues(tmp_path: Path) -> None:
    arguments = ["tasks", "train", "parity", "--lengths", "4,8", "--cell", "gru", "--hidden-size"]
    arguments += [8, "--embedding-dim", 4, "--max-steps", 2, "--kernel", "loop"]
    arguments += ["--run", tmp_path / "run"]
    done = charlm(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["task"] == "parity" and [level["length"] for level in report["levels"]] == [4]
    written = unseal_json((tmp_path / "run/length-4.json").read_bytes(), tmp_path)
    assert json.loads(written) == report["levels"][0]
    printed = charlm(*arguments)
    assert printed.returncode == 0 and b"length solved steps correct" in printed.stdout
    other = charlm(*arguments, "--lr", 0.5)
    assert other.returncode == 78 and b"other settings" in other.stderr


@pytest.mark.slow
def test_length_beyond_memory_is_refused_before_training(tmp_path: Path) -> None:
    done = charlm(
        *("tasks", "compare", "copy", "--lengths", "1,9999999", "--params", 9060),
        *("--out", "out"),
        cwd=tmp_path,
    )
    assert done.returncode == 79, done.stderr
    assert b"charlm: cannot train at length 9999999: about" in done.stderr
    assert not list(tmp_path.glob("out/curricula")) and not list(tmp_path.glob("out/logs"))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("compare cpoy --lengths 5", "unknown task 'cpoy'; did you mean copy?"),
        ("compare copy --lengths 0", "the smallest length of this task is 1"),
        (
            "compare copy --lengths 6..9",
            "cannot use --lengths 6..9: it contains none of 1, 2, 5",
        ),
        ("compare copy", "--lengths"),
        ("compare --lengths 5", "TASK"),
        ("compare a.txt copy --lengths 5", "unexpected extra argument"),
        ("compare copy --lengths 5 --dry-run --executor ray", "--dry-run"),
        ("compare copy --lengths 5 --match time", "--match"),
        ("compare copy --lengths 5 --seq-len 9", "--seq-len"),
        ("compare copy --lengths 5 --cells ,", "--cells"),
        ("compare copy --lengths 5 --ray-address auto", "--executor ray"),
        ("train copy --lengths 5", "--run"),
        ("train copy --lengths 5 --run out --dropout 2", "--dropout 2"),
        ("show copy --length 0", "--length 0: it must be a whole number from 1 to 1,000,000"),
        ("show adding --length 1", "the smallest length of this task is 2"),
        (
            "show markov --length 5001",
            "the largest length of this task is 5,000. Try lengths up to",
        ),
        (
            "compare recall-pairs --lengths 10..100",
            "cannot use --lengths 10..100: the largest length of this task is 64",
        ),
        ("--json list", "Try charlm tasks list"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: str, problem: str, tmp_path: Path
) -> None:
    done = charlm("tasks", *arguments.split(), cwd=tmp_path)
    assert done.returncode in (2, 78) and problem in done.stderr.decode(), done.stderr
    assert len(done.stderr.splitlines()) == 1 and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_list_and_show_mark_answers() -> None:
    tasks = json.loads(charlm("tasks", "--json").stdout)["tasks"]
    assert {task["name"] for task in tasks} == set(TASKS)
    assert all(task["source"] and task["chance"] and task["length"] for task in tasks)
    shown = charlm("tasks", "show", "copy", "--length", 8).stdout.decode()
    example = shown.split("(^ marks the scored answers):\n\n")[1]
    inputs, answers, marks = example.splitlines()[:3]
    symbols = inputs.split()[1][:8]
    assert answers.split()[1] == "." * 9 + symbols
    marked = [letter for letter, mark in zip(answers, marks, strict=True) if mark == "^"]
    assert "".join(marked) == symbols
    assert f"loss {8 * math.log(8) / 17:.6f}, 12.50% correct" in shown


def test_dry_run_lists_curricula_and_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "o"
    words = ["tasks", "compare", "parity", "--lengths", "2,4", "--cells", "rnn,gru", "--out", out]
    words += ["--seeds", 2, "--params", 900, "--embedding-dim", 4, "--max-steps", 2]
    done = charlm(*words, "--kernel", "loop", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    estimate = msgspec.json.decode(done.stdout, type=CostEstimate)
    assert not list(tmp_path.iterdir())
    kinds = Counter((job.purpose, job.cell) for job in estimate.runs)
    assert kinds == {
        **{("bracket", cell): 3 for cell in ("rnn", "gru")},
        **{("curriculum", cell): 2 for cell in ("rnn", "gru")},
    }
    assert [entry.name for entry in estimate.entries] == ["rnn", "gru"]
    assert all(entry.seconds_per_million for entry in estimate.entries)
    assert all(job.seconds > estimate.startup_seconds for job in estimate.runs)
    assert estimate.remaining.runs == len(estimate.runs) == 10
    assert estimate.remaining.disk_bytes == sum(job.disk_bytes for job in estimate.runs)
    # With a rate there is no bracket. These are the curricula that are then trained.
    words += ["--lr", 0.01, "--cells", "gru", "--kernel", "loop"]
    planned = msgspec.json.decode(charlm(*words, "--dry-run", "--json").stdout, type=CostEstimate)
    assert not list(tmp_path.iterdir())
    done = charlm(*words)
    assert done.returncode == 0, done.stderr
    curricula = out / "curricula"
    assert {f"curricula/{path.name}" for path in curricula.iterdir()} == {
        job.name for job in planned.runs
    }
    written = sum(path.stat().st_size for path in curricula.rglob("*"))
    assert written < planned.remaining.disk_bytes + len(planned.runs) * 2 * 4096  # directories
    shown = charlm(*words, "--dry-run").stdout.decode()
    assert shown.startswith("It takes nothing: all is done.")
    assert re.search(r"^gru +curricula +2 +100% +0:00", shown, re.M), shown
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_comparison_accepts_tied_weights_alone(tmp_path: Path) -> None:
    words = ["tasks", "compare", "copy", "--lengths", 2, "--cells", "rnn", "--seeds", 1]
    words += ["--params", 2000, "--max-steps", 2, "--kernel", "loop", "--out", tmp_path / "o"]
    done = charlm(*words, "--tie-weights", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert row["hidden_size"] > 1


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        (["tasks", "compare"], "charlm tasks compare [OPTIONS] TASK"),
        (["compare-cells"], "charlm compare-cells [OPTIONS] [TEXT]..."),
        (["probe"], "charlm probe [OPTIONS] RUN..."),
    ],
    ids=str,
)
def test_usage_names_arguments(words: list[str], usage: str) -> None:
    shown = charlm(*words, "--help").stdout.decode()
    assert usage in [line.strip().removeprefix("Usage: ") for line in shown.splitlines()]
