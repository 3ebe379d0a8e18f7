"""Page of the atlas, from the tables that `scripts/atlas.py` has measured."""

from pathlib import Path

import msgspec
from atlas_findings import task_findings, text_findings
from atlas_tables import (
    BLOCKS,
    CHARACTERS,
    S3_TRACKED,
    SEEDS,
    TASK_SETTINGS,
    TaskTable,
    TextTable,
    median,
    number,
    spread,
)

from charlm.cells.base import CELLS
from charlm.cells.names import CELL_NAMES


def format_page(data: Path) -> str:
    """Return docs/atlas.md, from the tables that are there."""
    parts = [
        "# Atlas of the cells",
        f"Every built-in cell with its recipe and {SEEDS} seeds, on Python's own source code and "
        "on tasks. Numbers are medians of the seeds, with the range in brackets. It shows where "
        "to look: with so few seeds no difference is a verdict; `charlm compare-cells` gives one. "
        "Made by `python scripts/atlas.py`; the command of a section measures its missing rows.",
    ]
    missing = []
    for parameters in CHARACTERS:
        for block, words in BLOCKS.items():
            path = data / f"{parameters}-{block}.json"
            command = f"python scripts/atlas.py text --params {parameters} --block {block}"
            if path.exists():
                table = msgspec.json.decode(path.read_bytes(), type=TextTable)
                parts += [*format_text(table, words, command), *text_findings(table)]
            else:
                missing.append(f"{parameters:,} parameters, {words}: `{command}`")
    path = data / "tasks.json"
    if path.exists():
        tasks = msgspec.json.decode(path.read_bytes(), type=TaskTable)
        parts += [*format_tasks(tasks), *task_findings(tasks)]
    else:
        missing.append("the tasks: `python scripts/atlas.py tasks`")
    if missing:
        rows = "\n".join(f"- {line}" for line in missing)
        parts += ["## Not measured yet", rows]
    return "\n\n".join(parts) + "\n"


def format_text(table: TextTable, words: str, command: str) -> list[str]:
    """Return the section of a size and a block."""
    ranked = sorted(table.rows, key=lambda row: median(row.bits) or 99)
    lines = [
        "| cell | units | state | bits/char | lost beyond 64 | order reach | s per million |",
        "|---|--:|--:|---|--:|--:|--:|",
    ]
    for row in ranked:
        reach = median(row.order_reach)
        lines.append(
            f"| {row.cell} | {row.hidden_size} | {row.state_size:,} | {spread(row.bits)} | "
            f"{number(median(row.beyond_64), 4)} | {'-' if reach is None else f'{reach:.0f}'} | "
            f"{number(row.seconds_per_million, 1)} |"
        )
    absent = sorted({*CELL_NAMES}.difference(row.cell for row in table.rows))
    facts = (
        f"{table.characters:,} characters read by each run; text "
        f"`{table.text_sha256[:16]}…`; n-gram of the same characters: "
        f"{number(table.ngram_bits, 3)} bits. State: numbers carried per stream. Lost beyond 64: "
        "bits per character lost when all further back than 64 characters is other text. Order "
        "reach: characters back whose order matters by more than 0.01 bits. Seconds are of "
        "training, on two cores beside other programs; none where those were too many."
    )
    unsuited = [cell for cell in absent if table.block == "residual" and not fits_blocks(cell)]
    if unsuited:
        facts += f" What it outputs cannot be added to what it reads: {', '.join(unsuited)}."
    if absent := [cell for cell in absent if cell not in unsuited]:
        facts += f" Not measured: {', '.join(absent)}."
    return [
        f"## {table.parameters:,} parameters, {words}",
        f"    {command}",
        "\n".join(lines),
        facts,
    ]


def fits_blocks(name: str) -> bool:
    """Return whether a cell outputs as many numbers as it has units, as a residual block needs."""
    units = CELLS[name].size_multiple()
    return CELLS[name](units, units).output_size == units


def format_tasks(table: TaskTable) -> list[str]:
    """Return the section of the tasks."""
    values = {(row.cell, row.task, row.quantity): row.values for row in table.rows}
    cells = list(dict.fromkeys(row.cell for row in table.rows))
    cells.sort(key=lambda cell: (-(median(values.get((cell, *S3_TRACKED), ())) or 0), cell))
    heads = [each.head for each in TASK_SETTINGS]
    lines = [f"| cell | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for cell in cells:
        shown = [
            spread(values.get((cell, each.task, each.quantity), ()), each.digits)
            for each in TASK_SETTINGS
        ]
        lines.append(f"| {cell} | {' | '.join(shown)} |")
    absent = sorted({*CELL_NAMES}.difference(cells))
    facts = (
        f"Bare cells of {table.parameters:,} parameters, {table.steps} steps of 32 sequences. "
        "Shares of right answers, but parity is scaled: 0 is a guess. Parity: words of 20 to 128 "
        "symbols after training on 3 to 20. S3: products of 16 permutations, by chance 0.17, and "
        "0.33 if the sign alone is known. S3 up to: the longest product of up to 256 so far up to "
        "which 90 % of the words have no error. Count: b as often as a, up to 16 times, and by ×2 "
        "up to 32 times, all of a word. "
        "Flip-flop: a bit held over 32 instructions, 98 % of them ignored. 8 pairs: values of 8 "
        "keys; any of the values that were read is right in 0.18. Adding: two of 50 numbers."
    )
    if absent:
        facts += f" Not measured: {', '.join(absent)}."
    return ["## Tasks", "    python scripts/atlas.py tasks", "\n".join(lines), facts]
