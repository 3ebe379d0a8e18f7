"""Tests of the diagnosis: each problem has one line with a way out, and nothing is secret."""

import json
import os
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import charlm

from charlm.execution import diagnosis
from charlm.execution.diagnosis import diagnose
from charlm.kernels.compiled import compiler
from charlm.reporting.terminal.doctor import print_diagnosis
from charlm.reporting.wording.doctor import SENTENCES, describe_problem
from charlm.storage import files

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
Break = Callable[[pytest.MonkeyPatch, Path], None]


def without_compiler(patch: pytest.MonkeyPatch, _: Path) -> None:
    patch.setattr(compiler, "compiler", lambda: ())


def with_broken_compiler(patch: pytest.MonkeyPatch, _: Path) -> None:
    patch.setattr(compiler, "unavailable_reason", lambda: f"it fails in {Path.home()}/x")


def without_torch(patch: pytest.MonkeyPatch, _: Path) -> None:
    patch.setitem(sys.modules, "charlm.execution.device", None)


def without_library(patch: pytest.MonkeyPatch, _: Path) -> None:
    patch.setattr(diagnosis, "LIBRARIES", ("no-such-library",))


def with_open_cache(patch: pytest.MonkeyPatch, path: Path) -> None:
    path.chmod(0o777)
    patch.setenv("CHARLM_CACHE", str(path))


def with_full_disk(patch: pytest.MonkeyPatch, _: Path) -> None:
    patch.setattr(files, "free_bytes", lambda _: 10**6)


def with_ascii(patch: pytest.MonkeyPatch, _: Path) -> None:
    patch.setattr(diagnosis.locale, "getencoding", lambda: "ANSI_X3.4-1968")  # type: ignore[attr-defined]


BROKEN: dict[str, tuple[Break, str]] = {
    "compiler_missing": (without_compiler, "no C compiler was found.*Try to install gcc"),
    "kernel_fails": (with_broken_compiler, "it fails in ~/x"),
    "torch_missing": (without_torch, "PyTorch cannot be imported"),
    "library_missing": (without_library, "Try pip install no-such-library"),
    "cache_not_used": (with_open_cache, "is not used: others may write .* Try chmod go-w"),
    "disk_full": (with_full_disk, "Try charlm clean"),
    "encoding": (with_ascii, "ANSI_X3.4-1968"),
}


@pytest.mark.parametrize("kind", SENTENCES)
def test_each_problem_is_found_and_has_a_way_out(
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("compiler_missing", "kernel_fails"):  # the machine of the test may lack one
        if kind != name:
            monkeypatch.setattr(compiler, "unavailable_reason", lambda: "")
    break_it, pattern = BROKEN[kind]
    break_it(monkeypatch, tmp_path)
    found = diagnose()
    assert kind in {problem.kind for problem in found.problems}
    print_diagnosis(found)
    lines = [line for line in capsys.readouterr().out.splitlines() if "problem: " in line]
    assert len(lines) == len(found.problems)
    problem = next(problem for problem in found.problems if problem.kind == kind)
    assert f"problem: {describe_problem(problem)}" in lines
    assert ". Try " in describe_problem(problem) or ", so that " in describe_problem(problem)
    assert re.search(pattern, describe_problem(problem))


def test_doctor_shows_the_installation_and_no_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("API_TOKEN", "a-secret-token")
    done = charlm("doctor", "--json")
    assert done.returncode == 0, done.stdout
    result = json.loads(done.stdout)
    assert result["libraries"]["torch"] and result["python"].startswith("CPython")
    assert result["cores"] >= 1 and result["devices"][0]["name"] == "cpu"
    assert result["compiler"]["builds"] and result["cache"]["path"] == "~/cache"
    text = done.stdout.decode()
    for secret in ("a-secret-token", str(tmp_path), os.uname().nodename):
        assert secret not in text


def test_doctor_exits_78_if_there_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    done = charlm("doctor")
    assert done.returncode == 78 and b"\nproblem: no C compiler was found" in done.stdout


def test_every_extra_is_in_the_diagnosis() -> None:
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    assert list(diagnosis.EXTRAS) == list(extras)
    for extra, package in diagnosis.EXTRAS.items():
        assert any(re.match(rf"{re.escape(package)}\b", line) for line in extras[extra])
