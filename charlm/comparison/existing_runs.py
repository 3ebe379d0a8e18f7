"""Existing runs as entries of a comparison: which may be compared, and how they differ."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from charlm.cells.names import cell_label
from charlm.comparison.budget_matching import BUDGET_TOLERANCE
from charlm.comparison.entries import (
    OBSERVING_SETTINGS,
    Entry,
    PlannedRun,
    shared_settings,
)
from charlm.config import option_metadata, to_argv
from charlm.errors import ConfigError
from charlm.evaluation.scoring import DOCUMENTS_PROTOCOL, STREAMING_PROTOCOL
from charlm.models.cell_options import may_have_option
from charlm.models.cost import flops_per_character
from charlm.results.comparison_plan import Matching, Quantity, QuantityRange
from charlm.runs.run import Run
from charlm.settings.model import CELL_OPTIONS
from charlm.settings.values import Setting
from charlm.storage.paths import path_word

# Quantity that runs may have in common -> its value for a run.
COMPARABLE_QUANTITIES: dict[Quantity, Callable[[PlannedRun, Run], int]] = {
    "parameters": lambda planned, _: planned.parameters,
    "flops_per_character": lambda planned, _: planned.flops_per_character,
    "state_size": lambda planned, _: planned.state_size,
    "max_steps": lambda _, run: run.record.max_steps,
    "characters_read": lambda planned, run: (
        run.record.max_steps * planned.config.batch_size * planned.config.seq_len
    ),
}


def check_comparable(runs: Sequence[Run]) -> None:
    """Raise ConfigError if runs have not ended, or their scores cannot be compared."""
    for run in runs:
        if not (run.report or run.diverged):
            raise ConfigError(
                f"cannot compare {run.path}: it is not finished. "
                f"Try charlm train --resume {path_word(run.path)}"
            )
        if run.report and not run.report.score:
            raise ConfigError(
                f"cannot compare {run.path}: it has no score, as it was trained with "
                "--final-eval none"
            )
    first = next((run for run in runs if run.report), runs[0])
    for run in runs:
        for difference in _protocol_differences(first, run):
            raise ConfigError(f"cannot compare {run.path} with {first.path}: {difference}")


def _protocol_differences(first: Run, other: Run) -> Iterator[str]:
    """Yield each difference of text or protocol that makes two scores incomparable."""
    for (name, value), (_, other_value) in zip(
        _protocol_fields(first), _protocol_fields(other), strict=True
    ):
        if value != other_value and None not in (value, other_value):
            yield f"{name} is {other_value}, not {value}"


def _protocol_fields(run: Run) -> Iterator[tuple[str, str | None]]:
    """Yield name and value of all that scores must share; None where a run has no score.

    A reset at documents is no such thing: both score each token of the same text once, from what
    precedes it. The report names the difference.
    """
    text, report = run.record.text, run.report
    score = report.score if report else None
    protocol = score.protocol if score else None
    if protocol == DOCUMENTS_PROTOCOL:
        protocol = STREAMING_PROTOCOL
    yield "the corpus", f"that of SHA-256 {text.digest.sha256[:16]}…"
    yield "the vocabulary", f"one of {run.record.config.vocab}"
    for name, (start, end) in text.splits.items():
        yield f"its {name} split", f"{start:,} to {end:,}"
    yield "the scored split", report.scored_split if report else None
    yield "the protocol", protocol
    yield "the SHA-256 of the scored text", score.text_sha256 if score else None
    lengths = score.block_lengths if score else None
    yield (
        "the length of its blocks",
        f"{min(lengths):,} to {max(lengths):,} ({len(lengths)} blocks)" if lengths else None,
    )


def group_by_config(
    runs: Sequence[Run], tuned: Mapping[Path, Collection[str]] = {}
) -> dict[str, list[Run]]:
    """Return name -> runs that differ only in their seed and what was tuned, sorted by seed.

    All groups have the same seeds. A run that two comparisons share counts once; one that is
    named twice by itself is refused.
    A group is named after its cell if that is unique, else after the directory of its first run.

    Args:
        runs: All runs.
        tuned: Directory of a run of a comparison -> settings that were tuned for each seed by
            itself.

    Raises:
        ConfigError: Groups have different seeds, two runs should be the same but are not, or a
            run is named twice.
    """
    groups: dict[tuple[str, ...], dict[int, Run]] = {}
    for run in runs:
        config, seed = run.record.config, run.record.config.seed
        ignored = ("cell", "seed", *OBSERVING_SETTINGS, *tuned.get(run.path, ()))
        settings = to_argv(config, with_changeable=False, exclude=ignored)
        initial = run.record.initial_weights
        weights = initial.weights_sha256 if initial else ""
        key = cell_label(config.cell), run.record.cell_sha256, weights, *settings
        other = groups.setdefault(key, {}).setdefault(seed, run)
        if _weights_sha256(run) != _weights_sha256(other):
            raise ConfigError(
                f"cannot compare {other.path} and {run.path}: they have identical settings but "
                "different weights. Try only one of them"
            )
        if other is not run and not {run.path, other.path} <= tuned.keys():
            raise ConfigError(
                f"cannot compare {other.path} and {run.path}: they are the same run, with "
                "identical settings, seed and weights. Try only one of them"
            )
    sorted_groups = [[group[seed] for seed in sorted(group)] for group in groups.values()]
    names = _unique_names([group[0] for group in sorted_groups])
    named = dict(zip(names, sorted_groups, strict=True))
    first, *others = named
    for name in others:
        if format_seeds(named[name]) != format_seeds(named[first]):
            raise ConfigError(
                f"cannot compare {first} with {name}: one has runs of seed "
                f"{format_seeds(named[first])}, the other of {format_seeds(named[name])}. "
                "Seeds are paired, so name runs of the same seeds"
            )
    return named


def _weights_sha256(run: Run) -> str | None:
    """Return the hash of the scored weights; None if the run diverged."""
    return run.report.weights_sha256 if run.report else None


def format_seeds(runs: Sequence[Run]) -> str:
    """Return the seeds of runs as a list with commas."""
    return ", ".join(str(run.record.config.seed) for run in runs)


def _unique_names(runs: Sequence[Run]) -> list[str]:
    """Return the shortest unique name of each run: its cell, its directory's name, or its path."""
    schemes = [
        [cell_label(run.record.config.cell) for run in runs],
        [run.path.resolve().name for run in runs],
        [str(run.path) for run in runs],
    ]
    paths = schemes[-1]
    names = [
        next((scheme[i] for scheme in schemes if scheme.count(scheme[i]) == 1), paths[i])
        for i in range(len(runs))
    ]
    return names if len(set(names)) == len(names) else paths


def existing_entries(groups: Mapping[str, Sequence[Run]], reference: str) -> tuple[Entry, ...]:
    """Return groups of runs as entries; their relative error is in the reference's parameters."""
    planned = {name: tuple(map(_as_planned, runs)) for name, runs in groups.items()}
    parameters = planned[reference][0].parameters
    return tuple(
        Entry(name, "cell", runs[0].parameters / parameters - 1, runs)
        for name, runs in planned.items()
    )


def describe_matching(entries: Sequence[Entry], groups: Mapping[str, Sequence[Run]]) -> Matching:
    """Return which quantities existing runs have in common, though nothing was matched."""
    runs = [
        (planned, run)
        for entry in entries
        for planned, run in zip(entry.runs, groups[entry.name], strict=True)
    ]
    amounts = {
        name: [amount(*run) for run in runs] for name, amount in COMPARABLE_QUANTITIES.items()
    }
    max_steps, characters = set(amounts["max_steps"]), set(amounts["characters_read"])
    return Matching(
        measure=None,
        amount=None,
        parameters=None,
        tolerance=BUDGET_TOLERANCE,
        max_relative_error=None,
        characters=characters.pop() if len(characters) == 1 else None,
        max_steps=max_steps.pop() if len(max_steps) == 1 else None,
        quantities=tuple(
            QuantityRange(
                name=name,
                min=min(values),
                max=max(values),
                is_equal=max(values) - min(values) <= BUDGET_TOLERANCE * min(values),
            )
            for name, values in amounts.items()
        ),
    )


def _as_planned(run: Run) -> PlannedRun:
    record = run.record
    flops = flops_per_character(record.config, run.vocabulary.size)
    return PlannedRun(
        record.config, run.path, record.max_steps, record.parameters, record.state_size, flops
    )


def differing_settings(entries: Sequence[Entry]) -> dict[str, dict[str, Setting]]:
    """Return setting -> entry -> value, of the settings that not all entries share.

    An option of cells has a value only of the entries whose cell has it.
    """
    configs = {entry.name: entry.runs[0].config for entry in entries}
    shared = shared_settings(list(configs.values()))
    values = {name: msgspec.to_builtins(config) for name, config in configs.items()}
    first, *_ = values.values()
    excluded = {"cell", "hidden_size", "seed", *OBSERVING_SETTINGS, *shared}
    differing = {
        setting: {
            name: own[setting]
            for name, own in values.items()
            if setting not in CELL_OPTIONS or may_have_option(configs[name].cell, setting)
        }
        for setting in first
        if setting not in excluded and not option_metadata(setting).can_change
    }
    known = {setting: own for setting, own in differing.items() if own}
    return known | _differing_starts(entries)


def _differing_starts(entries: Sequence[Entry]) -> dict[str, dict[str, Setting]]:
    """Return what entries began with, unless all began with new weights at their first step."""
    initial: dict[str, Setting] = {}
    extended: dict[str, Setting] = {}
    for entry in entries:
        record = Run(entry.runs[0].path).record
        weights, shorter = record.initial_weights, record.extends
        initial[entry.name] = Path(weights.run).name if weights else "none"
        extended[entry.name] = Path(shorter.run).name if shorter else "none"
    starts = {"init_from": initial, "resume": extended}
    return {name: values for name, values in starts.items() if set(values.values()) != {"none"}}
