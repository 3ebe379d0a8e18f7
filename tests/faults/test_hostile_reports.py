"""Hostile reports: a sample of those of `make faults`, and a reader that fails is found."""

from pathlib import Path

from faults.hostile_reports import Target, Watch, attempt, limited_memory, run

from charlm.storage.json_files import seal_json


def test_hostile_reports_end_in_one_line() -> None:
    hazard = run(0.02)
    assert hazard.trials == 80
    assert hazard.failures == ()


def test_bug_and_a_write_outside_are_found(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "report.json").write_bytes(seal_json({"a": 1}))
    watch = Watch(inside)

    def fail(_: Path, __: int) -> None:
        raise KeyError("a")

    target = Target("failing", inside, ("report.json",), fail)
    assert "KeyError" in attempt(target, 0, watch)
    outside = target._replace(read=lambda *_: (tmp_path / "x").write_text("x"))
    assert "open" in attempt(outside, 0, watch)
    full = target._replace(read=lambda *_: bytearray(3 * 2**30))
    with limited_memory():
        assert "not enough memory" in attempt(full, 0, watch)
    assert attempt(target._replace(read=lambda *_: None), 0, watch) == ""
    watch.is_on = False
