"""Budget of a comparison in minutes: how many characters each run can read in that time.

Cells are timed once. The result is kept in budget.json, so that the same command continues what it
began.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from charlm.comparison.directory import BUDGET_FILE
from charlm.comparison.entries import Entry
from charlm.comparison.request import BRACKET_BRANCH, BRACKET_FACTORS, ComparisonRequest
from charlm.comparison.search import rung_schedule
from charlm.comparison.throughput import (
    Speeds,
    measure_speeds,
    measure_startup_time,
    probe_seconds,
)
from charlm.data.corpus import Corpus
from charlm.errors import ConfigError
from charlm.execution.executor import Execution, LocalExecutor
from charlm.results.comparison_plan import PlannedBudget
from charlm.settings.values import DECAY_FRACTION, parse_branches
from charlm.storage import files
from charlm.storage.json_files import read_sealed_json, seal_json

BRACKET_RUNS = len(BRACKET_FACTORS) * float(Fraction(BRACKET_BRANCH))  # of a cell, in whole runs
SPARE = 0.1  # of the time, for what is not planned: text, baselines, statistics, idle cores


def characters_in_minutes(
    request: ComparisonRequest,
    entries: Sequence[Entry],
    corpus: Corpus,
    execution: Execution,
    *,
    writes: bool,
) -> int:
    """Return how many characters each run can read so that the command takes its minutes.

    Args:
        request: What is compared.
        entries: Entries with the default budget.
        corpus: The text.
        execution: Where runs are made; its directory has what was measured before.
        writes: Whether the result may be kept there.

    Raises:
        ConfigError: The runs are elsewhere, or there is no time to train.
    """
    executor = execution.executor
    if not isinstance(executor, LocalExecutor):
        raise ConfigError(
            "cannot use --minutes in a cluster: cells are timed on this machine. Try --characters"
        )
    path = execution.directory / BUDGET_FILE
    sizes = tuple(f"{entry.name} {entry.runs[0].parameters}" for entry in entries)
    kept = _read(path)
    asked = (request.minutes, sizes, request.seeds)
    if kept and (kept.minutes, kept.entries, kept.seeds) == asked:
        return kept.characters
    with execution.progress.counter("timing each entry") as count:
        speeds = measure_speeds(entries, corpus, executor.device, count)
    startup = measure_startup_time(executor.device)
    budget = request.minutes * 60 * executor.capacity() * (1 - SPARE)
    characters = affordable_characters(request, entries, speeds, startup, budget, corpus)
    if writes:
        result = PlannedBudget(
            minutes=request.minutes, entries=sizes, seeds=request.seeds, characters=characters
        )
        files.write_atomic(path, seal_json(result))
    return characters


def _read(path: Path) -> PlannedBudget | None:
    return read_sealed_json(path, PlannedBudget) if path.exists() else None


def affordable_characters(
    request: ComparisonRequest,
    entries: Sequence[Entry],
    speeds: Speeds,
    startup: float,
    budget: float,
    corpus: Corpus,
) -> int:
    """Return the characters of each run for which all work takes `budget` seconds of a core.

    Args:
        request: What is compared.
        entries: Entries with any budget.
        speeds: Entry -> its speed.
        startup: Seconds to start and stop a process.
        budget: Seconds of all cores.
        corpus: The text.

    Raises:
        ConfigError: What does not depend on the characters takes longer.
    """
    fixed, per_character = 0.0, 0.0
    for entry in entries:
        speed = speeds[entry.name]
        for run in entry.runs:
            config, steps = run.config, run.max_steps
            share = 1 + DECAY_FRACTION * float(sum(parse_branches(config.branches)))
            updates = steps * share * speed.seconds_per_step
            tokens = steps * config.batch_size * config.seq_len
            fixed += startup + speed.seconds(config, steps, corpus) - updates
            per_character += updates / tokens
            if request.memory:
                fixed += startup + probe_seconds(speed, corpus)
            if request.search and entry.role == "cell":
                rungs = rung_schedule(request.trials, run.max_steps)
                fixed += startup * sum(rungs.values())
                per_character += updates / tokens * sum(part * n for part, n in rungs.items())
        if request.has_bracket and entry.role == "cell":
            fixed += len(BRACKET_FACTORS) * startup
            tokens = entry.runs[0].config.batch_size * entry.runs[0].config.seq_len
            per_character += BRACKET_RUNS * speeds[entry.name].seconds_per_step / tokens
    if fixed >= budget:
        needed = request.minutes * fixed / budget
        raise ConfigError(
            f"cannot compare in --minutes {request.minutes:g}: start-up, validation, scores and "
            f"probes alone take {needed:.1f}. Try --minutes {2 * needed:.0f} or more"
        )
    first = entries[0].runs[0].config
    tokens = first.batch_size * first.seq_len
    return max(1, int((budget - fixed) / per_character) // tokens) * tokens
