"""`charlm verify` on a comparison: each changed bit of its own reports is found and named."""

from pathlib import Path

import pytest
from conftest import charlm

import charlm as api
from charlm.storage.json_files import encode_json, seal_json

FILES = ("report.json", "timing.json", "probes/gru-s0/report.json")


@pytest.fixture
def comparison(tmp_path: Path) -> Path:
    """A directory with the files that a comparison has, without runs."""
    path = tmp_path / "mine"
    for name in FILES:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(seal_json({"bits": 2.25, "name": name}))
    for name in ("comparison.json", "probes/gru-s0/probes.json"):
        (path / name).write_bytes(encode_json({"format": 6}))
    (path / "lock").touch()
    return path


def test_an_intact_comparison_has_no_problems(comparison: Path) -> None:
    result = api.verify(comparison.parent)
    (found,) = result.comparisons
    assert result.intact and not result.runs
    assert (found.path, found.files, found.problems) == (str(comparison), 5, ())
    shown = charlm("verify", comparison)
    assert shown.returncode == 0 and shown.stdout.decode().endswith("intact (5 files)\n")


@pytest.mark.parametrize("name", [*FILES, "comparison.json", "probes/gru-s0/probes.json"])
def test_what_is_changed_is_named(comparison: Path, name: str) -> None:
    path = comparison / name
    data = path.read_bytes()
    for position in range(0, len(data), 7) if name in FILES else (0, len(data) - 2):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        result = api.verify(comparison)
        (problem,) = result.comparisons[0].problems
        assert not result.intact and (problem.file, problem.kind) == (name, "damaged")
    path.write_bytes(data[: len(data) // 2])
    shown = charlm("verify", comparison)
    assert shown.returncode == 65 and f"  {name}: " in shown.stdout.decode()
    assert "give the command of the comparison again" in shown.stdout.decode()


def test_a_link_in_place_of_a_report_is_not_followed(comparison: Path) -> None:
    (comparison / "report.json").rename(comparison.parent / "elsewhere.json")
    (comparison / "report.json").symlink_to(comparison.parent / "elsewhere.json")
    (problem,) = api.verify(comparison).comparisons[0].problems
    assert (problem.file, problem.kind) == ("report.json", "link")
