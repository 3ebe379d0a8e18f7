"""Hyperparameter search on a terminal: its plan and the chosen settings."""

from charlm.config import option_name
from charlm.reporting.terminal.tables import print_fields, print_paragraphs, print_table, table_of
from charlm.reporting.wording.tuning import (
    boundary_warnings,
    describe_rung,
    describe_trials,
    format_setting,
    format_tuning_row,
)
from charlm.results.tuning import SearchPlan, TuningReport

# Heads of the table, so that all searched settings fit into 80 columns.
SHORT_HEADS = {"learning rate": "lr", "grad clip": "clip", "forget bias": "bias"}


def print_search(search: SearchPlan) -> None:
    """Print the cost, the rungs and the space of a search on stderr, before its first trial."""
    rungs = ", then ".join(f"{rung.trials} × {describe_rung(rung)}" for rung in search.rungs)
    print_fields([("tuning", describe_trials(search)), ("rungs", rungs)])
    for name, choices in search.space.items():
        separator = " to " if name == "learning_rate" else ", "
        values = separator.join(map(format_setting, choices))
        print_fields([("", f"{option_name(name)} {values}")])


def print_tuning(tuning: TuningReport) -> None:
    """Print a line per cell, and a warning for each search that was too narrow."""
    names = list(tuning.search.space)
    rows = []
    for cell, found in tuning.cells.items():
        row = format_tuning_row(cell, found, names)
        rows.append({SHORT_HEADS.get(head, head): text for head, text in row.items()})
    print_table(table_of(rows, left=["cell"]))
    chosen = f"Chosen by subsampled validation: {describe_trials(tuning.search)}."
    print_paragraphs([chosen, *boundary_warnings(tuning)])
