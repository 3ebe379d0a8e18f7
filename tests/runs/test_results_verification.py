"""`charlm verify` on comparisons, curricula and probes: what is changed or lost is named."""

from pathlib import Path

import msgspec
import pytest
from conftest import charlm

import charlm as api
from charlm.results.tasks import LevelResult, TaskScore, TaskValidation
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
    (found,) = result.results
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
        (problem,) = result.results[0].problems
        assert not result.intact and (problem.file, problem.kind) == (name, "damaged")
    path.write_bytes(data[: len(data) // 2])
    shown = charlm("verify", comparison)
    assert shown.returncode == 65 and f"  {name}: " in shown.stdout.decode()
    assert "give the command that made it again" in shown.stdout.decode()


def test_a_link_in_place_of_a_report_is_not_followed(comparison: Path) -> None:
    (comparison / "report.json").rename(comparison.parent / "elsewhere.json")
    (comparison / "report.json").symlink_to(comparison.parent / "elsewhere.json")
    (problem,) = api.verify(comparison).results[0].problems
    assert (problem.file, problem.kind) == ("report.json", "link")


def test_lost_report_is_told_from_a_comparison_without_one(comparison: Path) -> None:
    """The page and the times are written after the report."""
    (comparison / "report.html").write_text("<!")
    (comparison / "report.json").unlink()
    (found,) = api.verify(comparison).results
    (problem,) = found.problems
    assert (problem.file, problem.kind) == ("report.json", "missing") and found.finished
    assert problem.text == "it is missing, but timing.json is there"
    (comparison / "timing.json").unlink()
    (problem,) = api.verify(comparison).results[0].problems
    assert problem.text == "it is missing, but report.html is there"
    (comparison / "report.html").unlink()
    result = api.verify(comparison)
    assert result.intact and not result.results[0].finished
    shown = charlm("verify", comparison)
    assert shown.returncode == 0
    assert b"comparison intact, not finished: it has no report yet (3 files)" in shown.stdout


@pytest.fixture
def curriculum(tmp_path: Path) -> Path:
    """A directory of two lengths, each with its log."""
    path = tmp_path / "copy"
    path.mkdir()
    (path / "curriculum.json").write_bytes(seal_json({"task": "copy"}))
    for length in (10, 20):
        level = LevelResult(
            length=length,
            is_solved=True,
            steps=50,
            seconds=1.0,
            kernel="loop",
            chance=TaskScore(1.0, 0.5),
            test=TaskScore(0.0, 1.0),
            extrapolation={},
        )
        (path / f"length-{length}.json").write_bytes(seal_json(level))
        line = msgspec.json.encode(TaskValidation(50, 1.0, 0.1, 1.0))
        (path / f"length-{length}.jsonl").write_bytes(line + b"\n")
    return path


def test_curriculum_is_checked_and_named(curriculum: Path) -> None:
    shown = charlm("verify", curriculum)
    assert shown.stdout.decode() == f"{curriculum}: curriculum intact (5 files)\n"
    (curriculum / "length-20.json").unlink()
    (found,) = api.verify(curriculum).results
    assert not found.problems and not found.finished
    shown = charlm("verify", curriculum)
    assert b"intact, its last length not trained to the end (4 files)" in shown.stdout


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        ("length-10.json", None, "it is missing, but length 20 was trained after it"),
        ("length-10.jsonl", b'{"step":5', "line 1 is damaged"),
        ("length-20.json", b"{}", "SHA-256"),
        ("curriculum.json", b"{}", "SHA-256"),
    ],
)
def test_damage_of_a_curriculum_is_named(
    curriculum: Path, file: str, content: bytes | None, text: str
) -> None:
    path = curriculum / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    (found,) = api.verify(curriculum).results
    assert [problem.file for problem in found.problems] == [file]
    assert text in found.problems[0].text, found.problems


def test_result_under_another_length_is_found(curriculum: Path) -> None:
    (curriculum / "length-10.json").write_bytes((curriculum / "length-20.json").read_bytes())
    (problem,) = api.verify(curriculum).results[0].problems
    assert problem.file == "length-10.json" and "another length, 20" in problem.text


def test_what_a_part_of_a_comparison_has_lost_is_named(comparison: Path, curriculum: Path) -> None:
    (comparison / "curricula").mkdir()
    part = curriculum.rename(comparison / "curricula" / "gru-s0")
    (part / "length-20.json").unlink()
    assert api.verify(comparison).intact  # a length that is being trained
    (part / "length-10.json").unlink()
    (comparison / "probes/gru-s0/report.json").rename(comparison / "probes/gru-s0/timing.json")
    (found,) = api.verify(comparison).results
    assert [(problem.file, problem.kind) for problem in found.problems] == [
        ("curricula/gru-s0/length-10.json", "missing"),
        ("probes/gru-s0/report.json", "missing"),
    ]
    assert found.kind == "comparison" and found.finished
    assert found.problems[0].text == "it is missing, but length 20 was trained after it"


def test_probes_are_checked_by_themselves_and_as_part_of_a_comparison(comparison: Path) -> None:
    probes = comparison / "probes/gru-s0"
    (found,) = api.verify(probes).results
    assert (found.kind, found.files, found.problems) == ("probes", 2, ())
    assert [each.kind for each in api.verify([comparison, probes]).results] == ["comparison"]
