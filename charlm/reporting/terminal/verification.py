"""Verified runs on a terminal."""

from charlm.console import print_result
from charlm.reporting.formatting import format_size, pluralize
from charlm.results.verification import RunVerification, Verification


def print_verification(verification: Verification) -> None:
    """Print a line per run, below it what is wrong, and what would be used instead."""
    for run in verification.runs:
        files = f"{pluralize(run.files, 'file')}, {format_size(run.size)}"
        if not run.problems:
            print_result(f"{run.path}: intact ({files})")
        else:
            print_result(f"{run.path}: {pluralize(len(run.problems), 'problem')} ({files})")
        for problem in run.problems:
            print_result(f"  {problem.file or 'run'}: {problem.problem}")
        if run.problems:
            print_result(f"  {_describe_use(run)}")
        if run.custom_cell:
            print_result(
                "  names and shapes of its tensors were not checked: its cell is not executed here"
            )


def _describe_use(run: RunVerification) -> str:
    """Return what charlm would use of a run that is not intact."""
    if run.best_step is None:
        return "no weights can be used"
    resumed = "" if run.last_step is None else f", and continue from step {run.last_step:,}"
    return f"charlm would use the weights of step {run.best_step:,}{resumed}"
