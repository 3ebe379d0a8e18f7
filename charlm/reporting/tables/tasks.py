"""Tables of a comparison on a task."""

from statistics import fmean, median_low

from charlm.reporting.formatting import format_count, format_number
from charlm.reporting.tables.table import Group, Table
from charlm.reporting.wording.machine import describe_machine
from charlm.reporting.wording.tasks import (
    describe_criterion,
    describe_pairs,
    format_measure,
    format_solved_length,
)
from charlm.results.tasks import LevelSummary, TaskReport, TaskRow
from charlm.results.timing import TimingReport


def task_tables(report: TaskReport, timing: TimingReport | None) -> list[Table]:
    """Return the tables of a comparison on a task: longest lengths, and each length.

    Args:
        report: Report of the comparison.
        timing: Its times; without them, there are none in the tables.
    """
    measures = [_measures(report)] if report.measures else []
    return [_longest(report, timing), _lengths(report), *measures]


def _longest(report: TaskReport, timing: TimingReport | None) -> Table:
    machine = describe_machine(report.environment)
    times = f" Minutes: of training, per seed, on {machine}." if timing else ""
    return Table(
        name="longest",
        caption=f"Longest length of the task {report.task.name} that each cell solves, the lower "
        f"median over seeds. Solved means: {describe_criterion(report)}. State: floats carried "
        f"from one token to the next.{times} {describe_pairs(report)}".rstrip(),
        heads=(
            *("cell", "longest", "of each seed", "hidden", "params", "state", "FLOPs", "rate"),
            *(("minutes",) if timing else ()),
        ),
        groups=[Group("", [_longest_row(row, timing) for row in report.rows])],
    )


def _longest_row(row: TaskRow, timing: TimingReport | None) -> tuple[str, ...]:
    lengths = sorted(row.max_solved_length_per_seed, reverse=True)
    cells = (
        row.name,
        format_solved_length(row.max_solved_length),
        " ".join(map(format_solved_length, lengths)),
        f"{row.hidden_size:,}",
        f"{row.parameters:,}",
        f"{row.state_size:,}",
        format_count(row.flops_per_character),
        f"{row.learning_rate:.3g}",
    )
    if timing is None:
        return cells
    times = timing.cells.get(row.name)
    minutes = times.minutes if times else None
    return (*cells, "-" if minutes is None else format_number(float(f"{minutes:.3g}")))


def _lengths(report: TaskReport) -> Table:
    return Table(
        name="lengths",
        caption="Seeds that solved a length and every shorter one, with Wilson's 95 % interval of "
        "their share. Steps: lower median of the seeds that solved it. Correct: mean of the seeds "
        "that attempted it. Chance: the best model without memory.",
        heads=("cell", "length", "solved", "95 % interval", "steps", "correct", "chance"),
        groups=[
            Group(
                "",
                [
                    _length_row(report, row, number)
                    for row in report.rows
                    for number in range(len(row.levels))
                ],
            )
        ],
    )


def _measures(report: TaskReport) -> Table:
    described = " ".join(f"{measure.label}: {measure.description}." for measure in report.measures)
    rows = []
    for row in report.rows:
        for level in row.levels:
            values = []
            for measure in report.measures:
                known = [one for one in level.measures[measure.name] if one is not None]
                values.append(format_measure(fmean(known), measure.unit) if known else "-")
            rows.append((row.name, f"{level.length:,}", *values))
    return Table(
        name="measures",
        caption=f"Means of the seeds that attempted a length. {described}",
        heads=(
            "cell",
            "length",
            *(measure.label for measure in report.measures),
        ),
        groups=[Group("", rows)],
    )


def _length_row(report: TaskReport, row: TaskRow, number: int) -> tuple[str, ...]:
    level: LevelSummary = row.levels[number]
    steps = [steps for steps in level.steps if steps is not None]
    accuracy = [accuracy for accuracy in level.accuracy if accuracy is not None]
    return (
        row.name,
        f"{level.length:,}",
        f"{level.num_survived}/{level.num_seeds}",
        f"[{level.ci_low:.2f}, {level.ci_high:.2f}]",
        f"{median_low(steps):,}" if steps else "-",
        f"{fmean(accuracy):.1%}" if accuracy else "-",
        f"{report.chance[number].accuracy:.1%}",
    )
