"""Tasks on a terminal: the list, an example, training results and the comparison of cells."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import fmean, median_low

from charlm.config import describe_block, describe_blocks
from charlm.console import fold, print_result
from charlm.reporting.formatting import format_count, pluralize
from charlm.reporting.terminal.tables import (
    NARROW,
    add_row,
    make_table,
    print_fields,
    print_matching,
    print_paragraphs,
    print_table,
    text_width,
)
from charlm.reporting.wording.comparison import describe_timing_minutes
from charlm.reporting.wording.matching import describe_parallel_runs
from charlm.reporting.wording.quantities import list_names
from charlm.reporting.wording.tasks import (
    describe_criterion,
    describe_pairs,
    describe_rates,
    format_measure,
)
from charlm.results.tasks import (
    CurriculumReport,
    TaskComparisonOverview,
    TaskDocumentation,
    TaskExample,
    TaskReport,
)
from charlm.results.timing import TimingReport

SECTIONS = ("source", "question", "protocol", "length", "oracle", "chance")


def print_task_list(tasks: Sequence[TaskDocumentation]) -> None:
    """Print the name of each task, and its question without the explanation after it."""
    width = max(len(task.name) for task in tasks) + 2
    for task in tasks:
        question = "".join(" ".join(task.question.split()).partition("?")[:2])
        for line in fold(f"{task.name:<{width}}{question}", text_width(), " " * width):
            print_result(line)
    print_result("\nNext: charlm tasks show TASK")


def _print_sections(task: TaskDocumentation) -> None:
    sections = {
        "source": task.source,
        "question": task.question,
        "protocol": task.protocol,
        "length": task.length,
        "oracle": task.oracle,
        "chance": task.chance,
    }
    for name in SECTIONS:
        for line in fold(f"  {name:<9} {' '.join(sections[name].split())}", text_width(), " " * 12):
            print_result(line)


def print_task(example: TaskExample) -> None:
    """Print a task's documentation, and a sequence with its answers."""
    print_result(f"{example.task.name}: {example.task.summary}")
    _print_sections(example.task)
    inputs, answers = _example_cells(example)
    width = max(map(len, inputs))
    marks = [
        "^" * len(answer.rstrip()) if is_answer else ""
        for answer, is_answer in zip(answers, example.is_answer, strict=True)
    ]
    print_result(f"\nA sequence of length {example.length} (^ marks the scored answers):\n")
    per_line = max(1, (text_width() - 10) // width)
    for start in range(0, len(inputs), per_line):
        for margin, row in (("input", inputs), ("answer", answers), ("", marks)):
            cells = "".join(f"{cell:<{width}}" for cell in row[start : start + per_line])
            print_result(f"{margin:<8} {cells}".rstrip())
    chance = example.chance
    print_result(f"\nchance   loss {chance.loss:.6f}, {chance.accuracy:.2%} correct")
    if example.unbound_accuracy is not None:
        print_result(f"memory   {example.unbound_accuracy:.2%} correct, without a look-up")
    oracle = example.oracle
    if oracle.loss:
        print_result(f"oracle   loss {oracle.loss:.6f}, {oracle.accuracy:.2%} correct")
    else:
        print_result("oracle   loss 0, 100 % correct")
    for measure in example.measures:
        text = f"measured {measure.label}: {measure.description}"
        for line in fold(text, text_width(), " " * 9):
            print_result(line)


def _example_cells(example: TaskExample) -> tuple[list[str], list[str]]:
    """Return inputs and answers as text; an input is a symbol, or a number and its mark."""
    names = example.symbol_names
    if isinstance(example.x[0], list):
        inputs = [f"{number:.2f}{names[1] if mark else ' '}" for number, mark in example.x]
        answers = ["" if answer is None else f"{answer:.2f} " for answer in example.y]
    else:
        gap = " " if len(names[0]) > 1 else ""
        inputs = [names[symbol] + gap for symbol in example.x]
        answers = ["" if answer is None else names[answer] + gap for answer in example.y]
    return inputs, answers


def print_curriculum(report: CurriculumReport) -> None:
    """Print a row per length: answers there and beyond; then losses and further measures."""
    levels = report.levels
    factors = list(levels[0].extrapolation)
    heads = ("length", "solved", "steps", "correct", "chance", *(f"at {one}×" for one in factors))
    table = make_table(heads)
    for level in levels:
        correct = [level.test and level.test.accuracy, level.chance.accuracy]
        correct += [level.extrapolation.get(factor) for factor in factors]
        add_row(
            table,
            (
                f"{level.length:,}",
                "yes" if level.is_solved else "no" if level.test else "diverged",
                f"{level.steps:,}",
                *("-" if one is None else f"{one:.1%}" for one in correct),
            ),
        )
    print_table(table, NARROW)
    print_result("")
    measures = report.measures
    table = make_table(("length", "loss", "chance", "oracle", *(each.label for each in measures)))
    for level in levels:
        losses = (level.test and level.test.loss, level.chance.loss, level.oracle.loss)
        values = (level.measures.get(measure.name) for measure in measures)
        add_row(
            table,
            (
                f"{level.length:,}",
                *("-" if loss is None else f"{loss:.4g}" for loss in losses),
                *(
                    "-" if value is None else format_measure(value, measure.unit)
                    for value, measure in zip(values, measures, strict=True)
                ),
            ),
        )
    print_table(table, NARROW)
    print_result("")
    print_paragraphs(_describe_curriculum(report))


def _describe_curriculum(report: CurriculumReport) -> Iterator[str]:
    longer = list_names([f"{factor}×" for factor in report.levels[0].extrapolation])
    yield (
        f"{report.task}. correct: share of the answers to sequences that training never drew"
        + (f"; at {longer} the length without further training." if longer else ".")
        + " loss: nats per prediction, or the mean squared error of a number. chance: the best "
        "without memory. oracle: the best possible."
    )
    for measure in report.measures:
        yield f"{measure.label}: {measure.description}."
    for level in report.levels:
        if level.divergence:
            yield f"Length {level.length:,}: {level.divergence}."


def print_task_plan(overview: TaskComparisonOverview) -> None:
    """Print a comparison on a task before its first curriculum, on stderr."""
    config = overview.config
    lengths = ", ".join(map(str, overview.lengths))
    print_fields(
        [
            (
                "task",
                f"{overview.task}, lengths {lengths}; at most {config.max_steps:,} steps each",
            ),
            (
                "curricula",
                f"{overview.curricula}, "
                f"{describe_parallel_runs(overview.parallel_runs, overview.device)}; "
                + (
                    f"{overview.bracket} before them choose learning rates"
                    if overview.bracket
                    else f"--lr {config.learning_rate:g} for every cell"
                ),
            ),
            ("layers", f"{config.num_layers}; {describe_block(config.block, config.conv)}"),
            ("output", overview.out),
        ]
    )
    print_matching(overview.matching, overview.entries)


def print_task_report(report: TaskReport, timing: TimingReport) -> None:
    """Print the longest solved length of each cell, best first; then each length."""
    left = ("cell", "of each seed")
    table = make_table(
        ("cell", "params", "hidden", "state", "FLOPs", "longest", "of each seed"), left
    )
    for row in report.rows:
        lengths = sorted(row.max_solved_length_per_seed, reverse=True)
        add_row(
            table,
            (
                row.name,
                f"{row.parameters:,}",
                f"{row.hidden_size}",
                f"{row.state_size}",
                format_count(row.flops_per_character),
                f"{row.max_solved_length}",
                "  " + " ".join(map(str, lengths)),
            ),
        )
    print_table(table)
    print_result("")
    _print_levels(report)
    if report.measures:
        print_result("")
        _print_measures(report)
    paragraphs = [
        describe_pairs(report),
        _describe_task_report(report),
        describe_timing_minutes(timing, report.environment),
    ]
    print_paragraphs([paragraph for paragraph in paragraphs if paragraph])


def _print_levels(report: TaskReport) -> None:
    factors = list(report.rows[0].levels[0].extrapolation)
    longer = [f"at {factor}×" for factor in factors]
    heads = ("cell", "length", "to here", "95 % CI", "steps", "correct", *longer)
    table = make_table(heads, ("cell",))
    for row in report.rows:
        for level in row.levels:
            if level.num_attempted:
                add_row(
                    table,
                    (
                        row.name,
                        f"{level.length}",
                        f"{level.num_survived}/{level.num_seeds}",
                        f"{level.ci_low:.2f}–{level.ci_high:.2f}",
                        _over_seeds(level.steps, "{:,.0f}", median_low),
                        _over_seeds(level.accuracy, "{:.1%}", fmean),
                        *(
                            _over_seeds(level.extrapolation[factor], "{:.1%}", fmean)
                            for factor in factors
                        ),
                    ),
                )
    print_table(table)


def _print_measures(report: TaskReport) -> None:
    heads = ("cell", "length", *(measure.label for measure in report.measures))
    table = make_table(heads, ("cell",))
    for row in report.rows:
        for level in row.levels:
            if level.num_attempted:
                values = []
                for measure in report.measures:
                    known = [one for one in level.measures[measure.name] if one is not None]
                    values.append(format_measure(fmean(known), measure.unit) if known else "-")
                add_row(table, (row.name, f"{level.length}", *values))
    print_table(table)


def _describe_task_report(report: TaskReport) -> str:
    settings = report.settings
    factors = list_names([f"{factor}×" for factor in report.rows[0].levels[0].extrapolation])
    longer = f"; at {factors} the length without further training" if factors else ""
    measures = "".join(
        f" {measure.label}: {measure.description}, mean of the seeds."
        for measure in report.measures
    )
    return (
        f"{report.task.name}, {describe_blocks(settings)}, "
        f"{pluralize(len(report.rows[0].seeds), 'seed')}, at most "
        f"{report.matching.max_steps:,} steps of {settings['batch_size']} sequences per length, "
        f"{describe_rates(report)}. longest: lower median of the longest solved length. to here: "
        "seeds that solved this length and every shorter one (survival), with Wilson's interval. "
        "steps: lower median of the "
        "seeds that solved the length. correct: mean of the seeds that attempted it"
        f"{longer}.{measures} Solved means: {describe_criterion(report)}."
    )


def _over_seeds(
    values: Sequence[float | None], form: str, summarize: Callable[[Iterable[float]], float]
) -> str:
    known = [value for value in values if value is not None]
    return form.format(summarize(known)) if known else "-"
