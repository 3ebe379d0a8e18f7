"""Methods of a comparison on a task in plain sentences, for a paper to take."""

from charlm.config import describe_blocks
from charlm.reporting.formatting import pluralize
from charlm.reporting.wording.citations import cite_cell
from charlm.reporting.wording.machine import describe_machine
from charlm.reporting.wording.matching import describe_matching
from charlm.reporting.wording.quantities import list_names
from charlm.reporting.wording.tasks import describe_criterion
from charlm.results.tasks import TaskReport
from charlm.results.timing import TimingReport


def describe_task_methods(report: TaskReport, timing: TimingReport | None) -> list[str]:
    """Return paragraphs on task, models, training, tests and machine."""
    task, settings, rows = report.task, report.settings, report.rows
    names = list_names([cite_cell(row.name, row.name) for row in rows])
    lengths = ", ".join(f"{length:,}" for length in report.lengths)
    rates = list_names([f"{row.learning_rate:.3g} ({row.name})" for row in rows])
    sizes = list_names([f"{row.hidden_size:,} ({row.name})" for row in rows])
    steps = report.matching.max_steps
    software = [f"Runs were made on {describe_machine(report.environment)}."]
    if timing and timing.command:
        software.append(f"Command: {timing.command}")
    return [
        f"We compare the recurrent cells {names} with charlm {report.charlm} on the task "
        f"{task.name} ({task.source.rstrip('.')}). {task.protocol} Length: {task.length} "
        f"Chance: {task.chance}",
        f"{describe_matching(report.matching)}. Hidden sizes are {sizes}; "
        f"{pluralize(rows[0].num_layers, 'layer')} of {describe_blocks(settings)}. "
        f"Each cell and seed trains a new model at each of the lengths {lengths} in turn, for at "
        f"most {steps:,} steps of {settings['batch_size']} sequences, until one is not solved. "
        f"Solved means: {describe_criterion(report)}, on {report.test_sequences:,} sequences that "
        f"training never draws. Learning rates are {rates}. Each cell has "
        f"{pluralize(len(rows[0].seeds), 'seed')}.",
        "Shares of seeds have Wilson's 95 % intervals. Cells are compared at each length by "
        "Fisher's exact test of the seeds that solved it and every shorter one, corrected by Holm.",
        " ".join(software),
    ]
