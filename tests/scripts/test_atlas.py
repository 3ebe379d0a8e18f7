"""The atlas and the search of rates: what they make of measurements."""

import math
from pathlib import Path

import msgspec
import pytest
from test_docs import load_script

from charlm.cells.names import CELL_NAMES
from charlm.results.tasks import LevelResult, TaskScore

atlas, rates = load_script("atlas"), load_script("recipe_rates")


def text_table(**fields: object) -> object:
    row = atlas.TextRow(
        cell="gru",
        hidden_size=40,
        parameters=15_010,
        state_size=40,
        learning_rate=0.01,
        bits=(2.5, 2.3, None),
        beyond_64=(0.01, 0.02, None),
        order_reach=(70.0, 60.0, None),
        seconds_per_million=20.04,
    )
    lower = msgspec.structs.replace(row, cell="lstm", bits=(2.2, 2.2, 2.2))
    values = {
        "parameters": 15_000,
        "block": "none",
        "characters": 300_000,
        "text_sha256": "ab" * 32,
        "environment": {},
        "ngram_bits": 1.5,
        "rows": (row, lower),
    }
    return atlas.TextTable(**{**values, **fields})


def test_the_page_has_every_row_in_order_and_names_what_is_missing(tmp_path: Path) -> None:
    atlas.write_json(tmp_path / "15000-none.json", text_table())
    tasks = [
        atlas.TaskRow(cell="gru", task=each.task, values=(0.5, 1.0, 0.75))
        for each in atlas.TASK_SETTINGS
    ]
    page = atlas.format_page(tmp_path)
    rows = [line for line in page.splitlines() if line.startswith(("| gru", "| lstm"))]
    assert rows == [
        "| lstm | 40 | 40 | 2.200 (2.200–2.200) | 0.0150 | 65 | 20.0 |",
        "| gru | 40 | 40 | 2.400 (2.300–2.500), 1 diverged | 0.0150 | 65 | 20.0 |",
    ]
    assert "Not measured: attention, clockwork" in page
    for command in ("--params 15000 --block residual", "--params 100000 --block none", "tasks`"):
        assert f"scripts/atlas.py text {command}" in page or f"atlas.py {command}" in page
    assert "--params 15000 --block none`" not in page
    table = atlas.TaskTable(parameters=15_000, steps=600, rows=tuple(tasks))
    atlas.write_json(tmp_path / "tasks.json", table)
    assert "| gru | 0.75 (0.50–1.00) |" in atlas.format_page(tmp_path)


def test_the_committed_page_is_that_of_the_committed_tables() -> None:
    docs = Path(__file__).parents[2] / "docs"
    assert (docs / "atlas.md").read_text() == atlas.format_page(docs / "atlas")
    for file in (docs / "atlas").glob("*-*.json"):
        table = msgspec.json.decode(file.read_bytes(), type=atlas.TextTable)
        assert {row.cell for row in table.rows} <= {*CELL_NAMES}


def test_a_model_that_diverged_has_no_number() -> None:
    level = LevelResult(
        length=3,
        is_solved=False,
        steps=5,
        seconds=1.0,
        kernel="loop",
        chance=TaskScore(1.0, 0.1),
        test=TaskScore(0.5, 0.9),
        extrapolation={},
        measures={"long": 0.7},
    )
    assert (atlas.quantity(level, ""), atlas.quantity(level, "long")) == (0.9, 0.7)
    assert atlas.quantity(msgspec.structs.replace(level, test=None), "long") is None


def test_the_rate_is_the_lowest_point_of_a_parabola() -> None:
    bits = {
        rate: (math.log2(rate) - math.log2(0.005)) ** 2 for rate in (2**-9, 2**-8, 2**-7, 2**-6)
    }
    assert rates.best_rate(bits) == pytest.approx(0.005)
    assert rates.best_rate({0.5: 1.0, 1.0: 2.0, 0.25: math.inf}) == 0.5
