"""Sentences on the atlas that are computed from its tables, so that they cannot contradict them."""

import statistics
from collections.abc import Sequence

from atlas_tables import TaskTable, TextTable, median, number
from scipy.stats import spearmanr

FORGETFUL, MATRIX_STATE = 0.001, 300  # bits lost beyond 64 characters; numbers of state
SOLVED, GUESSED_S3 = 0.99, 0.25  # accuracy


def text_findings(table: TextTable) -> list[str]:
    """Return what a table of cells on the text shows."""
    bits = {row.cell: median(row.bits) for row in table.rows}
    known = sorted((value, cell) for cell, value in bits.items() if value is not None)
    if len(known) < 2:
        return []
    rows = {row.cell: row for row in table.rows}
    best = rows[known[0][1]]
    highest = max(value for value in best.bits if value is not None)
    near = [cell for value, cell in known[1:] if value <= highest]
    findings = [
        f"{best.cell} has the lowest median, {number(known[0][0], 3)} bits, and {known[-1][1]} the "
        f"highest, {number(known[-1][0], 3)}. {len(near)} other medians lie within the range of "
        f"{best.cell}'s seeds{f' ({join(near)})' if near else ''}."
    ]
    measured = [(rows[cell].state_size, value) for value, cell in known]
    if len(measured) > 9:
        rank = spearmanr(*zip(*measured, strict=True)).statistic
        large = [value for size, value in measured if size > MATRIX_STATE]
        small = [value for size, value in measured if size <= MATRIX_STATE]
        sentence = (
            f"Rank correlation of state and bits over {len(measured)} cells: {number(rank, 2)}"
        )
        if large and small:
            sentence += (
                f"; the {len(large)} cells that carry more than {MATRIX_STATE} numbers have a "
                f"median of {number(statistics.median(large), 3)} bits, the {len(small)} others "
                f"{number(statistics.median(small), 3)}"
            )
        findings.append(f"{sentence}.")
    users = sorted(
        ((value, row.cell) for row in table.rows if (value := median(row.beyond_64)) is not None),
        reverse=True,
    )
    above = [f"{cell} {number(value, 4)}" for value, cell in users if value > FORGETFUL]
    findings.append(
        f"More than {FORGETFUL} bits are lost beyond 64 characters by {len(above)} of "
        f"{len(users)} cells{f': {join(above)}' if above else ''}."
    )
    return findings


def task_findings(table: TaskTable) -> list[str]:
    """Return what the table of tasks shows."""
    findings = []
    for task, quantity, words in (
        ("word-problem-s3", "accuracy", "products of 16 permutations"),
        ("anbn", "twice", "counts up to twice the trained length"),
    ):
        values = [
            (median(row.values), row.cell)
            for row in table.rows
            if (row.task, row.quantity) == (task, quantity)
        ]
        known = sorted((value, cell) for value, cell in values if value is not None)
        if not known:
            continue
        solved = [cell for value, cell in known if value >= SOLVED]
        findings.append(
            f"{len(solved)} of {len(known)} cells that were measured have {words} right in "
            f"{SOLVED:.0%} or more{f': {join(solved)}' if solved else ''}."
        )
    guessed = sorted(
        row.cell
        for row in table.rows
        if (row.task, row.quantity) == ("word-problem-s3", "accuracy")
        and (median(row.values) or 0.0) < GUESSED_S3
    )
    if guessed:
        findings.append(
            f"At products of 16 permutations, {join(guessed)} guess after {table.steps} steps; "
            "whether they would learn it in more, or at another rate, this does not say."
        )
    return findings


def join(words: Sequence[str]) -> str:
    """Return words as a list in a sentence."""
    return ", ".join(words)
