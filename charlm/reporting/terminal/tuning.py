"""How cells are going to be tuned, and what came of it."""

import textwrap
from typing import Any

from rich.text import Text

from charlm.config import option_name
from charlm.console import escape_control_characters, print_result
from charlm.reporting.terminal.tables import make_table, print_fields, print_table
from charlm.reporting.terminal.tasks import COLUMNS
from charlm.reporting.wording import (
    boundary_warnings,
    describe_trials,
    format_setting,
    format_tuning_row,
)


def print_search(asked: dict[str, Any]) -> None:
    """Before the first trial: what they cost, how far they are trained, and what is searched."""
    rungs = (f"{one['trials']} × {one['max_steps']:,} updates" for one in asked["rungs"])
    print_fields([("tuning", describe_trials(asked)), ("rungs", ", then ".join(rungs))])
    for name, choices in asked["space"].items():
        between = " to " if name == "learning_rate" else ", "
        print_fields([("", f"{option_name(name)} {between.join(map(format_setting, choices))}")])


def print_chosen(tuning: dict[str, Any]) -> None:
    """A line for each cell, and one for each that the space is too small for."""
    table = make_table()
    told = [
        format_tuning_row(cell, found, list(tuning["space"]))
        for cell, found in tuning["cells"].items()
    ]
    for head in told[0]:
        table.add_column(head, justify="left" if head == "cell" else "right")
    for one in told:
        table.add_row(*(Text(escape_control_characters(cell)) for cell in one.values()))
    print_table(table)
    how = f"Chosen by quick looks at the validation split: {describe_trials(tuning)}."
    for line in (how, *boundary_warnings(tuning)):
        print_result("\n".join(textwrap.wrap(line, COLUMNS, break_on_hyphens=False)))
