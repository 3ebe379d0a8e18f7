"""The atlas and the search of rates: what they make of measurements."""

import math
from pathlib import Path

import msgspec
import pytest
from conftest import prose
from test_docs import load_script

from charlm.cells.names import CELL_NAMES
from charlm.config import Config
from charlm.errors import ConfigError
from charlm.results.tasks import CurriculumReport, LevelResult, TaskScore

atlas, findings, rates = map(load_script, ("atlas", "atlas_findings", "recipe_rates"))

LEVEL = LevelResult(
    length=3,
    is_solved=False,
    steps=5,
    seconds=1.0,
    kernel="loop",
    chance=TaskScore(1.0, 0.1),
    test=TaskScore(0.5, 0.9),
    extrapolation={"2": 0.4},
    measures={"long": 0.7},
)


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
        atlas.TaskRow(cell="gru", task=each.task, quantity=each.quantity, values=(0.5, 1.0, 0.75))
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
    atlas.write_json(tmp_path / "15000-residual.json", text_table(block="residual"))
    _, _, blocks = atlas.format_page(tmp_path).partition("in residual blocks")
    assert "cannot be added to what it reads: depth-gated-lstm. Not measured: att" in blocks
    table = atlas.TaskTable(parameters=15_000, steps=600, rows=tuple(tasks))
    atlas.write_json(tmp_path / "tasks.json", table)
    assert "| gru | 0.75 (0.50–1.00) |" in atlas.format_page(tmp_path)


def test_the_committed_page_is_that_of_the_committed_tables() -> None:
    docs = Path(__file__).parents[2] / "docs"
    assert (docs / "atlas.md").read_text() == atlas.format_page(docs / "atlas")
    for file in (docs / "atlas").glob("*-*.json"):
        table = msgspec.json.decode(file.read_bytes(), type=atlas.TextTable)
        assert {row.cell for row in table.rows} <= {*CELL_NAMES}


def test_what_is_measured_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = atlas.TaskSetting("anbn", 4, "accuracy", "count")
    trained = []

    def train(task: str, lengths: list[int], config: Config, path: Path) -> CurriculumReport:
        trained.append((task, lengths, config.cell, config.seed, path.name))
        return CurriculumReport(task=task, levels=(LEVEL,))

    monkeypatch.setattr(atlas, "train_curriculum", train)
    done = atlas.TaskRow(cell="gru", task="anbn", quantity="accuracy", values=(0.5,))
    before = atlas.TaskTable(parameters=15_000, steps=atlas.TASK_STEPS, rows=(done,))
    (table,) = atlas.measure_tasks(["gru", "mingru"], [setting], tmp_path, before)
    assert table.rows[0] == done and [row.cell for row in table.rows] == ["gru", "mingru"]
    assert table.rows[1].values == (0.9, 0.9, 0.9)
    assert trained == [("anbn", [4], "mingru", seed, f"anbn-mingru-{seed}") for seed in (1, 2, 3)]
    assert not [*atlas.measure_text(["gru"], 15_000, "none", tmp_path, text_table())]
    path = tmp_path / "tasks.json"
    assert atlas.read_json(path, atlas.TaskTable) is None
    atlas.write_json(path, table)
    assert atlas.read_json(path, atlas.TaskTable) == table


def test_rows_of_another_text_or_budget_are_not_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: object, **__: object) -> None:
        raise AssertionError("it was trained before the table was checked")

    for name in ("compare", "train_curriculum"):
        monkeypatch.setattr(atlas, name, train)
    text = tmp_path / "text.txt"
    text.write_text(prose(3000))
    monkeypatch.setattr(atlas, "TEXT", str(text))
    with pytest.raises(ConfigError, match=r"its text_sha256 is abab.*, and now [0-9a-f]{64}\. Del"):
        next(iter(atlas.measure_text(["rnn"], 15_000, "none", tmp_path, text_table())))
    other = text_table(characters=7)
    with pytest.raises(ConfigError, match=r"its characters is 7, and now 300000\. Delete"):
        next(iter(atlas.measure_text(["rnn"], 15_000, "none", tmp_path, other)))
    before = atlas.TaskTable(parameters=15_000, steps=2, rows=())
    with pytest.raises(ConfigError, match="its steps is 2, and now 600"):
        next(iter(atlas.measure_tasks(["gru"], atlas.TASK_SETTINGS, tmp_path, before)))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["text", "--cells", "gru,lsmt"], "unknown cell 'lsmt'; did you mean lstm"),
        (["tasks", "--cells", "gruu"], "unknown cell 'gruu'; did you mean gru"),
        (["tasks", "--tasks", "anbm"], "unknown task 'anbm'; did you mean anbn?"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], error: str
) -> None:
    docs = tmp_path / "docs"
    monkeypatch.setattr("sys.argv", ["atlas.py", *arguments, "--docs", str(docs)])
    with pytest.raises(SystemExit) as refusal:
        atlas.main()
    assert str(refusal.value).startswith(error) and "\n" not in str(refusal.value)
    assert not docs.exists()


def test_sentences_are_those_of_the_numbers() -> None:
    best, forgotten = findings.text_findings(text_table())
    assert best.startswith("lstm has the lowest median, 2.200 bits, and gru the highest, 2.400. 0")
    assert forgotten == (
        "More than 0.001 bits are lost beyond 64 characters by 2 of 2 cells: "
        "lstm 0.0150, gru 0.0150."
    )
    rows = [
        atlas.TextRow(
            cell=f"cell{size}",
            hidden_size=8,
            parameters=15_000,
            state_size=100 * size,
            learning_rate=0.01,
            bits=(2.0 + size / 10, 2.05 + size / 10, 2.16 + size / 10),
            beyond_64=(),
            order_reach=(),
            seconds_per_million=None,
        )
        for size in range(1, 11)
    ]
    best, rank, forgotten = findings.text_findings(text_table(rows=tuple(rows)))
    assert "1 other medians lie within the range of cell1's seeds (cell2)" in best
    assert rank == (
        "Rank correlation of state and bits over 10 cells: 1.00; the 7 cells that carry more than "
        "300 numbers have a median of 2.750 bits, the 3 others 2.250."
    )
    assert forgotten.endswith("by 0 of 0 cells.")


def test_sentences_on_tasks_count_cells_that_solve_them_and_name_those_that_guess() -> None:
    values = {"gru": (1.0, 0.99, 0.5), "rnn": (0.3, 0.3, 0.2), "lru": (0.17, 0.17, 0.9)}
    rows = [
        atlas.TaskRow(cell=cell, task="word-problem-s3", quantity="accuracy", values=shares)
        for cell, shares in values.items()
    ]
    table = atlas.TaskTable(parameters=15_000, steps=600, rows=tuple(rows))
    solved, guessed = findings.task_findings(table)
    assert "1 of 3 cells" in solved and solved.endswith("right in 99% or more: gru.")
    assert guessed.startswith("At products of 16 permutations, lru guess after 600 steps")


def test_a_model_that_diverged_has_no_number() -> None:
    names = ("accuracy", "twice", "long")
    assert [atlas.quantity(LEVEL, name) for name in names] == [0.9, 0.4, 0.7]
    assert atlas.quantity(msgspec.structs.replace(LEVEL, test=None), "long") is None


def test_the_rate_is_the_lowest_point_of_a_parabola() -> None:
    bits = {
        rate: (math.log2(rate) - math.log2(0.005)) ** 2 for rate in (2**-9, 2**-8, 2**-7, 2**-6)
    }
    assert rates.best_rate(bits) == pytest.approx(0.005)
    assert rates.best_rate({0.5: 1.0, 1.0: 2.0, 0.25: math.inf}) == 0.5
