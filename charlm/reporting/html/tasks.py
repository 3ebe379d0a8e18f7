"""Page of a comparison of cells on a task: the longest length that each solves."""

from collections.abc import Callable, Iterator, Sequence

from charlm.config import describe_blocks, option_name
from charlm.reporting.figures import (
    Figure,
    FigureSpec,
    LegendEntry,
    Reference,
    Series,
    draw_figure,
    make_legend,
)
from charlm.reporting.formatting import format_count, format_number
from charlm.reporting.html.page import render_template
from charlm.reporting.wording.machine import describe_machine
from charlm.reporting.wording.matching import describe_matching
from charlm.reporting.wording.tasks import (
    describe_criterion,
    describe_pairs,
    describe_rates,
    format_measure,
    format_solved_length,
    summarize_task_comparison,
)
from charlm.results.tasks import (
    LengthChance,
    LevelSummary,
    PositionSummary,
    TaskComparisonResult,
    TaskReport,
    TaskRow,
)
from charlm.results.timing import TimingReport

X = "length"
HEADS = ["cell", "longest", "by seed", "params", "hidden", "state", "FLOPs", "min"]


def render_tasks(result: TaskComparisonResult) -> bytes:
    """Return the page of `charlm tasks compare`."""
    report, task = result.report, result.report.task
    legend = make_legend([row.name for row in report.rows])
    return render_template(
        "tasks.html",
        report=report,
        command=result.timing.command,
        task=task,
        summary=f"{summarize_task_comparison(report)} {describe_pairs(report)}".strip(),
        criterion=describe_criterion(report),
        machine=describe_machine(report.environment),
        matching=_describe_protocol(report),
        heads=HEADS,
        rows=[_table_row(row, result.timing) for row in report.rows],
        by_length=length_table(report),
        measures=measure_table(report),
        measure_notes=[(measure.label, measure.description) for measure in report.measures],
        figures_by_length=task_figures(report, legend),
        documentation=[
            ("protocol", task.protocol),
            ("length", task.length),
            ("oracle", task.oracle),
            ("chance", task.chance),
            ("source", task.source),
        ],
        settings=[(option_name(name), str(value)) for name, value in report.settings.items()],
    )


def _describe_protocol(report: TaskReport) -> str:
    settings, steps = report.settings, report.matching.max_steps
    return (
        f"{describe_matching(report.matching)}. Each cell and seed trains a new model at each "
        f"length in increasing order, for at most {steps:,} steps of {settings['batch_size']} "
        f"sequences, until it does not solve one; {describe_blocks(settings)}; "
        f"{describe_rates(report)}."
    )


def _table_row(row: TaskRow, timing: TimingReport) -> list[str]:
    times = timing.cells.get(row.name)
    minutes = times.minutes if times else None
    return [
        row.name,
        format_solved_length(row.max_solved_length),
        ", ".join(map(format_solved_length, row.max_solved_length_per_seed)),
        format_number(row.parameters),
        format_number(row.hidden_size),
        format_number(row.state_size),
        format_count(row.flops_per_character),
        "–" if minutes is None else f"{minutes:.1f}",
    ]


def format_survived(level: LevelSummary) -> str:
    """Return how many seeds survived to a length, with Wilson's interval of their share."""
    interval = f"{level.ci_low:.0%} to {level.ci_high:.0%}"
    return f"{level.num_survived} of {level.num_seeds} ({interval})"


def length_table(report: TaskReport) -> tuple[list[str], list[list[str]]]:
    """Return heads and rows: a row per length with its chance level, a column per cell."""
    return ["", "chance", *(row.name for row in report.rows)], [
        [
            f"length {chance.length:,}",
            _format_chance(chance),
            *(format_survived(row.levels[number]) for row in report.rows),
        ]
        for number, chance in enumerate(report.chance)
    ]


def measure_table(report: TaskReport) -> tuple[list[str], list[list[str]]]:
    """Return heads and rows: a row per measure and length, a column per cell."""
    return ["", *(row.name for row in report.rows)], [
        [
            f"{measure.label}, length {length:,}",
            *(
                " ".join(
                    "–" if value is None else format_measure(value, measure.unit)
                    for value in row.levels[number].measures[measure.name]
                )
                for row in report.rows
            ),
        ]
        for measure in report.measures
        for number, length in enumerate(report.lengths)
    ]


def _format_chance(chance: LengthChance) -> str:
    if chance.unbound_accuracy is None:
        return f"{chance.accuracy:.1%}"
    return f"{chance.accuracy:.1%} ({chance.unbound_accuracy:.1%} without a look-up)"


def task_figures(report: TaskReport, legend: Sequence[LegendEntry]) -> list[Figure]:
    """Draw seeds that solved each length, accuracy there and beyond, and training steps."""
    solved = [
        Series(
            row.name,
            row.name,
            report.lengths,
            [level.num_survived / level.num_seeds for level in row.levels],
            ([level.ci_low for level in row.levels], [level.ci_high for level in row.levels]),
            [format_survived(level) for level in row.levels],
        )
        for row in report.rows
    ]
    spec = _share_spec("Survived to here", "share of seeds")
    figures = [draw_figure("solved", spec, solved, legend), _accuracy_figure(report, legend)]
    for factor in report.rows[0].levels[0].extrapolation:
        if lines := _extrapolation_series(report, factor):
            title = f"Accuracy at {factor} times the length"
            spec = _share_spec(title, "share of correct answers, untrained there")
            figures.append(draw_figure(f"accuracy-{factor}", spec, lines, legend))
    if lines := seed_series(report, lambda level: level.steps):
        spec = FigureSpec("Training until solved", X, "steps", log_x=True)
        figures.append(draw_figure("steps", spec, lines, legend))
    return [*figures, *_measure_figures(report, legend), *_position_figures(report, legend)]


def _measure_figures(report: TaskReport, legend: Sequence[LegendEntry]) -> Iterator[Figure]:
    for measure in report.measures:

        def values(level: LevelSummary, name: str = measure.name) -> Sequence[float | None]:
            return level.measures[name]

        if lines := seed_series(report, values):
            title = measure.label.capitalize()
            spec = FigureSpec(title, X, measure.unit, log_x=True)
            yield draw_figure(f"measure-{measure.name}", spec, lines, legend)


def _position_figures(report: TaskReport, legend: Sequence[LegendEntry]) -> Iterator[Figure]:
    """Draw the score by position after the longest length that every cell attempted."""
    levels = [[row.levels[number] for row in report.rows] for number in range(len(report.lengths))]
    complete = [each for each in levels if all(level.by_position for level in each)]
    if not complete:
        return
    length = complete[-1][0].length
    is_random = any(chance.oracle.loss for chance in report.chance)

    def values(position: PositionSummary) -> Sequence[float | None]:
        return position.excess_loss if is_random else position.accuracy

    lines = [
        Series(
            f"{row.name} seed {seed}",
            row.name,
            [position.position for position in level.by_position],
            [values(position)[number] for position in level.by_position],
        )
        for row, level in zip(report.rows, complete[-1], strict=True)
        for number, seed in enumerate(row.seeds)
    ]
    lines = [line for line in lines if any(y is not None for y in line.y)]
    title = f"By position, trained at length {length:,}"
    y = "nats above the oracle" if is_random else "share of correct answers"
    spec = FigureSpec(title, "position", y, log_x=True, y_range=None if is_random else (0, 1))
    yield draw_figure("positions", spec, lines, legend)


def _accuracy_figure(report: TaskReport, legend: Sequence[LegendEntry]) -> Figure:
    chance = Reference("chance", [level.accuracy for level in report.chance], report.lengths)
    spec = _share_spec("Accuracy", "share of correct answers")._replace(references=(chance,))
    lines = seed_series(report, lambda level: level.accuracy)
    return draw_figure("accuracy", spec, lines, legend)


def _share_spec(title: str, y: str) -> FigureSpec:
    return FigureSpec(title, X, y, log_x=True, y_range=(0, 1))


def _extrapolation_series(report: TaskReport, factor: str) -> list[Series]:
    return seed_series(report, lambda level: level.extrapolation[factor])


def seed_series(
    report: TaskReport, values: Callable[[LevelSummary], Sequence[float | None]]
) -> list[Series]:
    """Return a line per cell and seed; values: one of each seed at a length."""
    lines = [
        Series(
            f"{row.name} seed {seed}",
            row.name,
            report.lengths,
            [values(level)[number] for level in row.levels],
        )
        for row in report.rows
        for number, seed in enumerate(row.seeds)
    ]
    return [line for line in lines if any(y is not None for y in line.y)]
