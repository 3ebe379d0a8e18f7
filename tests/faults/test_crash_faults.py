"""Faults of disks and processes: small samples of `make faults`, and the model of power cuts."""

import random
from pathlib import Path

import msgspec
import pytest
from faults.crash_states import Disk, Step
from faults.hazard import Hazard
from forked import run_script

SCRIPT = Path(__file__).parents[2] / "scripts" / "run_faults.py"
# Module, share of its trials and how many trials these are at least.
SAMPLES = [
    ("kills", 0.01, 4),
    ("torn_writes", 0.03, 2),
    ("power_cuts", 0.01, 60),
    ("disk_errors", 0.01, 5),
    ("damage", 0.003, 100),
]


@pytest.mark.slow
@pytest.mark.parametrize(("module", "scale", "least"), SAMPLES)
def test_nothing_is_lost(tmp_path: Path, module: str, scale: float, least: int) -> None:
    result = tmp_path / "hazard.json"
    done = run_script(SCRIPT, module, "--scale", scale, "--result", result)
    assert done.returncode == 0, done.stderr.decode()
    hazard = msgspec.json.decode(result.read_bytes(), type=Hazard)
    assert hazard.trials >= least and not hazard.failures, hazard.failures


ROOT = "/disk"
OLD, NEW = b"old", b"n" * 10_000
WRITE_OLD = [
    Step("create", f"{ROOT}/x"),
    Step("write", f"{ROOT}/x", data=OLD),
    Step("fsync", f"{ROOT}/x"),
    Step("fsync", ROOT),
]
REPLACE = [
    Step("create", f"{ROOT}/.tmp"),
    Step("write", f"{ROOT}/.tmp", data=NEW),
    Step("fsync", f"{ROOT}/.tmp"),
    Step("rename", f"{ROOT}/.tmp", f"{ROOT}/x"),
    Step("fsync", ROOT),
]


def contents_after(steps: list[Step]) -> set[bytes | None]:
    """Return the contents that the file x may have after a power cut at the end of these steps."""
    disk, rng = Disk(ROOT), random.Random(0)
    for step in steps:
        disk.apply(step)
    return {disk.cut_power(rng).get("x") for _ in range(300)}


def test_power_cuts_leave_what_was_synced_and_anything_of_the_rest() -> None:
    assert contents_after(WRITE_OLD) == {OLD}
    assert contents_after(WRITE_OLD + REPLACE) == {NEW}
    assert contents_after(WRITE_OLD + REPLACE[:3]) == {OLD}  # still under its temporary name
    assert contents_after(WRITE_OLD + REPLACE[:4]) == {OLD, NEW}
    # Each omission shows: of the first sync, of the last one, and of the order.
    torn = contents_after(WRITE_OLD + REPLACE[:2] + REPLACE[3:])
    assert {NEW, b"", bytes(len(NEW))} <= torn and any(
        c and len(NEW) > len(c.rstrip(b"\0")) > 0 for c in torn
    )
    assert None in contents_after(WRITE_OLD[:3])
    early = [REPLACE[0], REPLACE[3], Step("write", f"{ROOT}/x", data=NEW), Step("fsync", ROOT)]
    assert contents_after(WRITE_OLD + early) > {b"", NEW}
    removed = [Step("unlink", f"{ROOT}/x"), *REPLACE[:4]]
    assert contents_after(WRITE_OLD + removed) == {OLD, NEW, None}


def test_names_below_a_new_directory_are_lost_with_it() -> None:
    disk, rng = Disk(ROOT), random.Random(0)
    for step in (
        Step("mkdir", f"{ROOT}/run"),
        Step("create", f"{ROOT}/run/x"),
        Step("write", f"{ROOT}/run/x", data=OLD),
        Step("fsync", f"{ROOT}/run/x"),
        Step("fsync", f"{ROOT}/run"),
    ):
        disk.apply(step)
    found = [disk.cut_power(rng) for _ in range(100)]
    assert {} in found and {"run": None, "run/x": OLD} in found
    disk.apply(Step("fsync", ROOT))
    assert all(state == found[-1] or state for state in (disk.cut_power(rng) for _ in range(100)))
