"""How cells are going to be tuned, and what came of it."""

import textwrap
from typing import Any

from rich.text import Text

from charlm.config import flag
from charlm.show import facts, result
from charlm.show.rows import at_edge, setting, trials, tuned
from charlm.show.tables import bare_table, drawn
from charlm.show.tasks import COLUMNS
from charlm.visible import visible


def planned(asked: dict[str, Any]) -> None:
    """Before the first trial: what they cost, how far they are trained, and what is searched."""
    rungs = (f"{one['trials']} × {one['updates']:,} updates" for one in asked["rungs"])
    facts([("tuning", trials(asked)), ("rungs", ", then ".join(rungs))])
    for name, choices in asked["space"].items():
        between = " to " if name == "learning_rate" else ", "
        facts([("", f"{flag(name)} {between.join(map(setting, choices))}")])


def chosen(tuning: dict[str, Any]) -> None:
    """A line for each cell, and one for each that the space is too small for."""
    table = bare_table()
    told = [tuned(cell, found, list(tuning["space"])) for cell, found in tuning["cells"].items()]
    for head in told[0]:
        table.add_column(head, justify="left" if head == "cell" else "right")
    for one in told:
        table.add_row(*(Text(visible(cell)) for cell in one.values()))
    drawn(table)
    how = f"Chosen by quick looks at the validation split: {trials(tuning)}."
    for line in (how, *at_edge(tuning)):
        result("\n".join(textwrap.wrap(line, COLUMNS, break_on_hyphens=False)))
