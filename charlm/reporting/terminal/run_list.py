"""A list of runs on a terminal."""

from charlm.console import print_result
from charlm.reporting.formatting import format_age, format_count, format_size, pluralize
from charlm.reporting.terminal.tables import add_row, make_table, print_paragraphs, print_table
from charlm.reporting.wording.run_list import describe_state
from charlm.results.run_list import RunList

BITS_LABELS = {"test": "test", "valid": "valid", "subsampled": "valid*"}


def print_runs(runs: RunList, now: float) -> None:
    """Print one line per run, and why some cannot be used.

    Args:
        runs: Runs.
        now: Seconds since the epoch, which ages count from.
    """
    if not runs.runs:
        print_result("no runs")
        return
    table = make_table()
    for name in ("run", "cell", "text", "bits", "of", "state", "params", "size", "age"):
        is_number = name in ("bits", "params", "size", "age")
        is_short = is_number or name == "of"
        table.add_column(
            name, justify="right" if is_number else "left", no_wrap=is_short, overflow="fold"
        )
    for run in runs.runs:
        add_row(
            table,
            (
                run.path,
                run.cell,
                run.text,
                "" if run.bits is None else f"{run.bits:.3f}",
                BITS_LABELS[run.bits_kind] if run.bits_kind else "",
                describe_state(run),
                format_count(run.parameters) if run.parameters else "",
                format_size(run.size),
                format_age(now - run.modified),
            ),
        )
    print_table(table)
    total = format_size(sum(run.size for run in runs.runs))
    notes = [f"{pluralize(len(runs.runs), 'run')}, {total}."]
    if any(run.bits_kind == "subsampled" for run in runs.runs):
        notes.append("valid*: best subsampled validation, not an exact score.")
    if any(run.state == "incompatible" for run in runs.runs):
        notes.append(f"This charlm reads runs of format {runs.format}: train others again.")
    problems = [run.problem for run in runs.runs if run.state in ("damaged", "diverged", "link")]
    print_paragraphs([" ".join(notes), *problems])
