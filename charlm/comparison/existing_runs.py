"""Runs that are there already, side by side: which may stand so, and in what they differ."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from charlm.cells.names import cell_label
from charlm.comparison.budget_matching import TOLERANCE
from charlm.comparison.plan import PlannedRun, shared_settings
from charlm.comparison.report import ComparedRuns
from charlm.results.comparison import Report
from charlm.config import option_metadata, to_argv
from charlm.errors import ConfigError
from charlm.models.cost import flops_per_character
from charlm.reporting.formatting import format_count
from charlm.runs.run import Run, is_run
from charlm.storage.json_files import decode_json, read_bytes

# What could be equal of runs, in words -> how much of it a run has.
COMPARABLE_QUANTITIES: dict[str, Callable[[PlannedRun, Run], int]] = {
    "parameters": lambda one, _: one.parameters,
    "FLOPs per character": lambda one, _: one.flops_per_character,
    "floats of state": lambda one, _: one.state_size,
    "max_steps": lambda _, run: run.record.max_steps,
    "characters read": lambda one, run: (
        run.record.max_steps * one.config.batch_size * one.config.seq_len
    ),
}


def load_runs(places: Sequence[str]) -> tuple[list[Run], Run]:
    """The runs of these directories, of which a comparison stands for those that its report is
    about; and one of the baseline: of the first comparison's, if that comes first, else the first.
    """
    runs: list[Run] = []
    base = None
    for place in map(Path, places):
        if is_run(place):
            runs.append(Run(place))
            base = base or runs[-1]
        else:
            report = _load_comparison_report(place)
            of = {
                row["cell"]: [Run(place / "runs" / name) for name in row["runs"]]
                for row in report["rows"]
            }
            runs += [run for some in of.values() for run in some]
            base = base or of[report["judged"]["baseline"]][0]
    assert base
    return runs, base


def _load_comparison_report(place: Path) -> Report:
    """The report of a comparison that has made its runs."""
    path = place / "report.json"
    if not path.exists():
        raise ConfigError(
            f"{place} is not finished: the command that began it goes on with it; or name its runs"
        )
    report: Report = decode_json(read_bytes(path), dict[str, Any], path)
    if not (place / "runs").exists() or not all("runs" in row for row in report["rows"]):
        raise ConfigError(f"{place} is no comparison that has made runs on a text: name runs")
    return report


def check_comparable(runs: Sequence[Run]) -> None:
    """Runs that did not come to an end, or whose scores are of different things."""
    for run in runs:
        if not (run.report or run.diverged):
            raise ConfigError(
                f"{run.path} is not finished: go on with charlm train --run {run.path} --resume"
            )
        if run.report and not run.report["score"]:
            raise ConfigError(f"{run.path} has no score: it was trained with --final-eval none")
    scored = [run for run in runs if run.report] or runs
    for other in runs:
        for what, one, another in _protocol_differences(scored[0], other):
            raise ConfigError(
                f"{other.path} does not compare with {scored[0].path}: {what} is {another}, and "
                f"not {one}"
            )


def _protocol_differences(one: Run, other: Run) -> Iterator[tuple[str, Any, Any]]:
    """In what the scores of two runs are of different things: what it is, of the one, the other."""
    for (what, first), (_, second) in zip(
        _protocol_fields(one), _protocol_fields(other), strict=True
    ):
        if first != second and None not in (first, second):
            yield what, first, second


def _protocol_fields(run: Run) -> Iterator[tuple[str, Any]]:
    """What was scored, and how; None where a run that diverged has no score."""
    text, report = run.record.text, run.report or {}
    score = report.get("score") or {}
    yield "the corpus", f"that of SHA-256 {text.digest.sha256[:16]}…"
    yield "a symbol", f"one of the {run.record.config.vocab}"
    for name, (start, end) in text.splits.items():
        yield f"its {name} split", f"{start:,} to {end:,}"
    yield "what was scored", report.get("split")
    yield "the protocol", score.get("protocol")
    yield "the SHA-256 of the scored text", score.get("text_sha256")
    yield "the lengths of its blocks", _describe_block_lengths(score.get("block_lengths"))


def _describe_block_lengths(lengths: Sequence[int] | None) -> str | None:
    if lengths is None:
        return None
    return f"{min(lengths):,} to {max(lengths):,} ({len(lengths)} blocks)"


def group_by_config(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """name -> runs that differ only in their seed, by seed: all names have the same seeds. A run
    that is there twice, as in two comparisons, counts once.

    What has a cell for itself is called like it; else like the directory of its first run.
    """
    alike: dict[Any, dict[int, Run]] = {}
    for run in runs:
        config, seed = run.record.config, run.record.config.seed
        settings = to_argv(config, with_changeable=False, exclude=("cell", "seed"))
        key = cell_label(config.cell), run.record.cell_sha256, *settings
        other = alike.setdefault(key, {}).setdefault(seed, run)
        if _weights(run) != _weights(other):
            raise ConfigError(
                f"{other.path} and {run.path} differ in nothing that decides a run, and have other "
                "weights: name one of them"
            )
    groups = [[of[seed] for seed in sorted(of)] for of in alike.values()]
    named = dict(zip(_unique_labels([of[0] for of in groups]), groups, strict=True))
    first, *others = named
    for name in others:
        if format_seeds(named[name]) != format_seeds(named[first]):
            raise ConfigError(
                f"{first} has runs of seed {format_seeds(named[first])}, and {name} of "
                f"{format_seeds(named[name])}: seeds are compared in pairs, so name runs of the same seeds"
            )
    return named


def _weights(run: Run) -> str | None:
    """The hash of what was scored; None if it diverged."""
    return run.report["weights_sha256"] if run.report else None


def format_seeds(runs: Sequence[Run]) -> str:
    return ", ".join(f"{run.record.config.seed}" for run in runs)


def _unique_labels(runs: Sequence[Run]) -> list[str]:
    """What each of these is called: the first of three that it alone is called."""
    ways: Sequence[Callable[[Run], str]] = (
        lambda run: cell_label(run.record.config.cell),
        lambda run: run.path.resolve().name,
        lambda run: str(run.path),
    )
    told = [[way(run) for run in runs] for way in ways]
    found = [
        next((names[place] for names in told if names.count(names[place]) == 1), told[-1][place])
        for place in range(len(runs))
    ]
    return found if len(set(found)) == len(found) else told[-1]


def summarize_runs(named: Mapping[str, Sequence[Run]], baseline: str) -> ComparedRuns:
    """What they are compared as: what is alike among them, and what is not; what each misses are
    the baseline's parameters."""
    runs = {name: [_as_planned(run) for run in of] for name, of in named.items()}
    both = [(one, run) for name in named for one, run in zip(runs[name], named[name], strict=True)]
    amounts = {what: [amount(*of) for of in both] for what, amount in COMPARABLE_QUANTITIES.items()}
    updates = set(amounts["max_steps"])
    equal = {
        "measure": None,
        "told": _describe_matching(amounts),
        "max_steps": updates.pop() if len(updates) == 1 else None,
    }
    base = runs[baseline][0].parameters
    off = {name: of[0].parameters / base - 1 for name, of in runs.items()}
    return ComparedRuns(runs, equal, off, _differing_settings(runs))


def _as_planned(run: Run) -> PlannedRun:
    record = run.record
    flops = flops_per_character(record.config, run.vocabulary.size)
    return PlannedRun(record.config, run.path, record.parameters, record.state_size, flops)


def _describe_matching(amounts: Mapping[str, Sequence[int]]) -> str:
    alike, other = [], []
    for what, of in amounts.items():
        low, high = min(of), max(of)
        if high - low <= TOLERANCE * low:
            alike.append(what)
        else:
            other.append(f"{what} ({format_count(low)} to {format_count(high)})")
    said = "These runs were there before, and nothing was made equal"
    said += f"; alike within {100 * TOLERANCE:g} %: {', '.join(alike)}" if alike else ""
    return said + (f"; not alike: {', '.join(other)}" if other else "")


def _differing_settings(runs: Mapping[str, Sequence[PlannedRun]]) -> Report:
    """setting -> name -> what it is there, of those that not all have alike."""
    configs = {name: of[0].config for name, of in runs.items()}
    same = shared_settings(list(configs.values()))
    told = {name: msgspec.to_builtins(config) for name, config in configs.items()}
    first, *_ = told.values()
    own = {"cell", "hidden_size", "seed", *same}
    return {
        setting: {name: of[setting] for name, of in told.items()}
        for setting in first
        if setting not in own and not option_metadata(setting).can_change
    }
