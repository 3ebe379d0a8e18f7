"""Atlas of the zoo: quality, memory and cost of every cell, at two sizes, bare and in blocks.

    python scripts/atlas.py text --params 15000 --block none
    python scripts/atlas.py tasks
    python scripts/atlas.py page

Each command adds what it has measured to docs/atlas/, and writes docs/atlas.md from all that is
there. It goes on where it was stopped: what is there is not measured again, so delete a table to
measure it anew. Rows of another text or another budget are refused: python-source is the source of
the Python that runs the script.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from atlas_page import format_page
from atlas_tables import (
    BLOCKS,
    CHARACTERS,
    SEEDS,
    TASK_SETTINGS,
    TaskRow,
    TaskSetting,
    TaskTable,
    TextRow,
    TextTable,
)

from charlm import compare
from charlm.cells.names import CELL_NAMES
from charlm.comparison.budget_matching import cell_configs, match_budget
from charlm.comparison.request import ComparisonRequest
from charlm.config import validate_config
from charlm.data.corpus import load_corpus
from charlm.errors import ConfigError
from charlm.registry import unknown_name_error
from charlm.results.comparison import EntryRow
from charlm.results.tasks import LevelResult
from charlm.results.timing import TimingReport
from charlm.settings.values import Setting
from charlm.storage.json_files import read_sealed_json
from charlm.tasks.base import TASKS
from charlm.tasks.curriculum import train_curriculum

TEXT = "python-source"
TASK_PARAMETERS, TASK_STEPS = 15_000, 600
Table = TypeVar("Table", TextTable, TaskTable)


def main() -> None:
    """Measure what the arguments name, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["text", "tasks", "page"])
    parser.add_argument("--params", type=int, choices=[*CHARACTERS], default=15_000)
    parser.add_argument("--block", choices=[*BLOCKS], default="none")
    parser.add_argument("--cells", default="all", help="names by commas")
    parser.add_argument("--tasks", default="all", help="names by commas")
    parser.add_argument("--work", type=Path, default=Path("atlas"), help="directory of runs")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="directory of the page")
    arguments = parser.parse_args()
    try:
        measure(arguments)
    except ConfigError as error:
        raise SystemExit(str(error)) from error
    write_page(arguments.docs)


def measure(arguments: argparse.Namespace) -> None:
    """Measure what the arguments name, and write each table as it grows.

    Raises:
        UnknownNameError: There is no such cell or task.
        ConfigError: A table that is there has rows of another text or budget.
    """
    cells = chosen_names("cell", arguments.cells, CELL_NAMES)
    known = dict.fromkeys(each.task for each in TASK_SETTINGS)
    tasks = chosen_names("task", arguments.tasks, [*known])
    data = arguments.docs / "atlas"
    data.mkdir(parents=True, exist_ok=True)
    path = data / "tasks.json"
    tables: Iterable[TextTable | TaskTable] = ()
    if arguments.what == "text":
        path = data / f"{arguments.params}-{arguments.block}.json"
        before = read_json(path, TextTable)
        tables = measure_text(cells, arguments.params, arguments.block, arguments.work, before)
    elif arguments.what == "tasks":
        settings = [each for each in TASK_SETTINGS if each.task in tasks]
        tables = measure_tasks(cells, settings, arguments.work, read_json(path, TaskTable))
    for table in tables:
        write_json(path, table)
        write_page(arguments.docs)


def chosen_names(kind: str, given: str, known: Sequence[str]) -> Sequence[str]:
    """Return names that are given by commas; all that are known for "all".

    Raises:
        UnknownNameError: One is not known; the message has the nearest.
    """
    if given == "all":
        return known
    for name in given.split(","):
        if name not in known:
            raise unknown_name_error(kind, name, known)
    return given.split(",")


def check_same(before: TextTable | TaskTable | None, **now: str | int) -> None:
    """Raise ConfigError if the rows of a table were measured with other values of these fields."""
    for name, value in now.items() if before else ():
        if (found := getattr(before, name)) != value:
            raise ConfigError(
                f"cannot add to the table: its {name} is {found}, and now {value}. Delete the "
                "table to measure all of it anew"
            )


def write_page(docs: Path) -> None:
    """Write the page from the tables that are there."""
    (docs / "atlas.md").write_text(format_page(docs / "atlas"))


def read_json(path: Path, kind: type[Table]) -> Table | None:
    """Return a table that an earlier call has written; None if there is none."""
    return msgspec.json.decode(path.read_bytes(), type=kind) if path.exists() else None


def write_json(path: Path, value: msgspec.Struct) -> None:
    """Write a table as JSON that a person can read."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


def measure_text(
    cells: Sequence[str], parameters: int, block: str, work: Path, before: TextTable | None
) -> Iterable[TextTable]:
    """Measure cells on the text, each by its recipe; yield the table after each cell.

    Cells that the table had before are not measured again. Each is a comparison of its own, with
    the number of parameters nearest to the wanted one that its units allow.
    """
    config: dict[str, Setting] = {
        "characters": CHARACTERS[parameters],
        "block": block,
        "branches": "",  # neither them nor a bracket: the runs are the same without
    }
    rows = [*before.rows] if before else []
    ngram_bits = before.ngram_bits if before else None
    measured = {row.cell for row in rows}
    absent = [cell for cell in cells if cell not in measured]
    if absent:
        check_same(before, characters=CHARACTERS[parameters], text_sha256=text_sha256(config))
    for cell in absent:
        out = work / f"{parameters}-{block}" / cell
        try:
            report = compare(
                TEXT,
                [cell],
                parameters=parameters,
                seeds=SEEDS,
                baselines="n-gram" if ngram_bits is None else "none",
                config=config,
                out=out,
                device="cpu",
            )
        except ConfigError as error:
            print(f"{cell}: {error}")
            continue
        ngram = [row.bits_per_char for row in report.baselines if row.name == "n-gram"]
        ngram_bits = ngram[0] if ngram else ngram_bits
        timing = read_sealed_json(out / "timing.json", TimingReport)
        (row,) = report.cells
        rows.append(text_row(row, timing.cells[row.name].seconds_per_million))
        yield TextTable(
            parameters=parameters,
            block=block,
            characters=CHARACTERS[parameters],
            text_sha256=report.corpus.sha256,
            environment=report.environment,
            ngram_bits=ngram_bits,
            rows=tuple(rows),
        )


def text_sha256(settings: Mapping[str, Setting]) -> str:
    """Return the SHA-256 of the text, in the order of the splits that a comparison gives it."""
    request = ComparisonRequest(texts=(TEXT,), settings=settings)
    return load_corpus(TEXT, validate_config(request.base_settings)).record.digest.sha256


def text_row(row: EntryRow, seconds: float | None) -> TextRow:
    """Return what the atlas keeps of a cell."""
    memory = row.memory
    return TextRow(
        cell=row.cell,
        hidden_size=row.hidden_size,
        parameters=row.parameters,
        state_size=row.state_size,
        learning_rate=row.learning_rate,
        bits=row.bits_per_char.per_seed,
        beyond_64=memory.beyond_64.value.per_seed if memory and memory.beyond_64 else (),
        order_reach=memory.order_reach.value.per_seed if memory and memory.order_reach else (),
        seconds_per_million=seconds,
    )


def measure_tasks(
    cells: Sequence[str], tasks: Sequence[TaskSetting], work: Path, before: TaskTable | None
) -> Iterable[TaskTable]:
    """Train bare cells on tasks; yield the table after each number.

    Numbers that the table had before are not measured again.
    """
    check_same(before, parameters=TASK_PARAMETERS, steps=TASK_STEPS)
    rows = [*before.rows] if before else []
    measured = {(row.cell, row.task, row.quantity) for row in rows}
    settings = {"embedding_dim": 16, "max_steps": TASK_STEPS, "eval_every": TASK_STEPS}
    for cell in cells:
        for each in tasks:
            if (cell, each.task, each.quantity) in measured:
                continue
            task = TASKS[each.task]
            match = match_budget(
                settings,
                [cell],
                TASK_PARAMETERS,
                task.input_size,
                model_class=task.model,
                tolerance=0.1,
                adjust=False,
            )
            values = []
            for config in cell_configs(settings, cell, match.hidden_sizes[cell], SEEDS, 1):
                path = work / "tasks" / f"{each.task}-{cell}-{config.seed}"
                report = train_curriculum(each.task, [each.length], config, path)
                values.append(quantity(report.levels[0], each.quantity))
            row = TaskRow(cell=cell, task=each.task, quantity=each.quantity, values=tuple(values))
            rows.append(row)
            yield TaskTable(parameters=TASK_PARAMETERS, steps=TASK_STEPS, rows=tuple(rows))


def quantity(level: LevelResult, name: str) -> float | None:
    """Return a quantity of TaskSetting; None if training diverged."""
    if level.test is None:
        return None
    if name == "accuracy":
        return level.test.accuracy
    return level.extrapolation["2"] if name == "twice" else level.measures[name]


if __name__ == "__main__":
    main()
