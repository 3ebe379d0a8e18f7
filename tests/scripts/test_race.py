"""The race in small: each recipe is valid and its score repeats exactly."""

import re
from pathlib import Path

import pytest
from conftest import prose
from forked import run_script

RACE = Path(__file__).parents[2] / "scripts" / "race.py"
LINE = r"^(\S+) +(\d|mean|worst) +[\d.]+ +(\d\.\d{4})(?:   [\d.]+ in \d+ s)?$"


def race(text: Path, *arguments: str) -> list[tuple[str, str, str]]:
    """Return (recipe, seed, nats) of each line."""
    done = run_script(RACE, "--corpus", text, "--small", *arguments)
    assert done.returncode == 0, done.stderr
    return re.findall(LINE, done.stdout.decode(), re.M)


@pytest.mark.slow
def test_race_runs_each_recipe_and_repeats_exactly(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(prose(3000))
    lines = race(text, "--seeds", "2")
    recipes = {name for name, _, _ in lines}
    assert len(recipes) >= 3 and len(lines) == 4 * len(recipes)
    for start in range(0, len(lines), 4):
        (_, _, first), (_, _, second), *summaries = lines[start : start + 4]
        (_, mean_label, mean), (_, worst_label, worst) = summaries
        assert first != second and worst == max(first, second)
        assert mean_label == "mean" and worst_label == "worst" and float(mean) < 4
    assert race(text, "--only", lines[0][0], "--seeds", "1")[0] == lines[0]
