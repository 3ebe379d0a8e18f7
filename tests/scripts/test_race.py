"""The race in small: that each recipe is one that charlm takes, and that it repeats exactly."""

import re
import subprocess
import sys
from pathlib import Path

from conftest import prose

RACE = Path(__file__).parent.parent / "scripts" / "race.py"
LINE = r"^(\S+) +(\d|mean|worst) +[\d.]+ +(\d\.\d{4})(?:   [\d.]+ in \d+ s)?$"


def told(text: Path, *words: str) -> list[tuple[str, str, str]]:
    """(recipe, seed, nats) of each line."""
    done = subprocess.run(
        [sys.executable, RACE, "--corpus", text, "--small", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return re.findall(LINE, done.stdout, re.M)


def test_each_recipe_is_raced_with_each_seed_and_repeats_exactly(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(prose(3000))
    found = told(text, "--seeds", "2")
    recipes = {name for name, _, _ in found}
    assert len(recipes) >= 3 and len(found) == 4 * len(recipes)
    for at in range(0, len(found), 4):
        (_, _, first), (_, _, second), (_, what, mean), (_, which, worst) = found[at : at + 4]
        assert first != second and worst == max(first, second)
        assert what == "mean" and which == "worst" and float(mean) < 4
    assert told(text, "--only", found[0][0], "--seeds", "1")[0] == found[0]
