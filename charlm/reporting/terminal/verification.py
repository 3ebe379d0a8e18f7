"""Verified runs on a terminal."""

from pathlib import Path

from charlm.console import print_result, shell_command
from charlm.reporting.formatting import format_size, pluralize
from charlm.results.verification import ResultsVerification, RunVerification, Verification


def print_verification(verification: Verification) -> None:
    """Print a line per run, below it what is wrong, and what would be used instead."""
    for run in verification.runs:
        is_foreign = any(problem.kind == "format" for problem in run.problems)
        files = f"{pluralize(run.files, 'file')}, {format_size(run.size)}"
        if is_foreign:
            print_result(f"{run.path}: not checked")
        elif not run.problems:
            print_result(f"{run.path}: intact ({files})")
        else:
            print_result(f"{run.path}: {pluralize(len(run.problems), 'problem')} ({files})")
        for problem in run.problems:
            print_result(f"  {problem.file}: {problem.text}")
        for note in run.notes:
            print_result(f"  note: {note.file}: {note.text}")
        if run.problems and not is_foreign:
            _print_use(run)
        if run.custom_cell:
            print_result(
                "  names and shapes of its tensors were not checked: its cell is not executed here"
            )
    for results in verification.results:
        state = pluralize(len(results.problems), "problem") if results.problems else "intact"
        print_result(
            f"{results.path}: {results.kind} {state}{_unfinished(results)} "
            f"({pluralize(results.files, 'file')})"
        )
        for problem in results.problems:
            print_result(f"  {problem.file}: {problem.text}")
        if results.problems:
            print_result("  Restore it from a backup, or give the command that made it again.")
    for note in verification.notes:
        print_result(f"note: {note.file}: {note.text}")


def _unfinished(results: ResultsVerification) -> str:
    if results.finished:
        return ""
    if results.kind == "curriculum":
        return ", its last length not trained to the end"
    return ", not finished: it has no report yet"


def _print_use(run: RunVerification) -> None:
    """Print what charlm would use of a run that is not intact, and what to try."""
    weights, training = "no weights can be used", "training cannot continue"
    if run.best_step is not None:
        weights = f"charlm would use the weights of step {run.best_step:,}"
    if run.last_step is not None:
        training = f"training would continue from step {run.last_step:,}"
    print_result(f"  {weights}, and {training}")
    if run.last_step is None and run.longer_step is not None:
        print_result(f"  a longer budget is possible, from step {run.longer_step:,}:")
        path = shell_command([Path(run.path)])
        command = f"charlm train --resume {path} --max-steps N --run NEW"
        print_result(f"    {command}", verbatim=True)
    if any(problem.kind in ("link", "special") for problem in run.problems):
        print_result("  Replace links, FIFOs and the like by the real files.")
    if any(problem.kind in ("damaged", "missing") for problem in run.problems):
        print_result("  Restore what is damaged or missing from a backup, if there is one.")
