"""Memory profiles of the entries of a comparison: parts of a memory between chance and ceiling.

Four parts are measured by probes of the runs that are compared. Their intervals are those of the
two-way bootstrap of seeds and units of text. Three are read from comparisons on a task, whose runs
are others of the same cells: their intervals are over these runs alone, by Student's t.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from scipy.stats import t as student

from charlm.cells.names import cell_label
from charlm.comparison.directory import MARKER, REPORT_FILE
from charlm.comparison.entries import Entry
from charlm.comparison.memory import BEYOND, REPLACEMENT, WORDS, NoPlaces, Places, read_places
from charlm.comparison.paired_sample import PairedSample
from charlm.comparison.sample_size import SIGNIFICANCE_LEVEL
from charlm.comparison.stored_reports import read_task_report
from charlm.errors import ConfigError, InputNotFoundError
from charlm.models.cell_options import may_have_option
from charlm.probes.cache import read_answer
from charlm.probes.runner import run_name
from charlm.results.comparison import ComparisonMarker, MemoryProfile, OtherSetting, ProfiledTask
from charlm.results.probes import Aspect, Measured, ProfileEntry
from charlm.results.tasks import LevelSummary, TaskReport, TaskRow
from charlm.results.text import UnitKind
from charlm.runs.run import Run
from charlm.settings.model import CELL_OPTIONS
from charlm.storage.json_files import read_json
from charlm.tasks.base import TASKS, Task

# Field of a profile -> probe that measures it, and its length of context; None: the last one.
PROBED: Mapping[str, tuple[str, int | None]] = {
    "holds": ("readout", 16),
    "uses": (REPLACEMENT, BEYOND),
    "looks_up": (WORDS, None),
    "survives": ("position", None),
}
# Settings, beside its name and size, that make a cell another model.
MODEL_SETTINGS = (*CELL_OPTIONS, "num_layers", "block", "conv", "forget_bias", "recurrent_init")
UNITS: Mapping[Aspect, str] = {"recalls": "pairs", "tracks": "elements", "counts": "repeats"}


class ProfiledReport(NamedTuple):
    """A finished comparison on a task that measures a part of a profile."""

    directory: Path
    aspect: Aspect
    report: TaskReport

    @property
    def task(self) -> Task:
        """The task."""
        return TASKS[self.report.task.name]

    @property
    def ceiling(self) -> float:
        """Largest number that a model of perfect memory has in these tests."""
        longest, task = max(self.report.lengths), self.task
        if self.aspect == "recalls":
            return float(longest)
        return float(longest * max(task.multiples(longest), default=1))


def read_profiled_tasks(
    directories: Sequence[str | Path], entries: Sequence[Entry]
) -> tuple[ProfiledReport, ...]:
    """Read the comparisons on tasks that the profiles of entries take a part from.

    Raises:
        InputNotFoundError: There is no such directory.
        ConfigError: One is no finished comparison on a task, has none of the cells, its task is no
            part of a profile, or two are the same part.
        DataError: One is damaged.
    """
    cells = {cell_label(entry.runs[0].config.cell) for entry in entries if entry.role == "cell"}
    reports: dict[Aspect, ProfiledReport] = {}
    for directory in map(Path, directories):
        if not directory.is_dir():
            raise InputNotFoundError(f"cannot use --tasks {directory}: there is no such directory")
        if problem := _other_directory(directory):
            raise ConfigError(
                f"cannot use --tasks {directory}: {problem}. Try the directory of a finished "
                "charlm tasks compare"
            )
        report = read_task_report(directory)
        aspect = aspect_of(report.task.name)
        if aspect is None:
            raise ConfigError(
                f"cannot use --tasks {directory}: its task, {report.task.name}, is no part of a "
                "memory profile. Try recall-pairs, a word problem, anbn or anbncn"
            )
        if other := reports.get(aspect):
            raise ConfigError(
                f"cannot use --tasks {directory}: {other.directory} measures the same part of a "
                "memory profile. Try one of them"
            )
        names = [row.name for row in report.rows]
        if not cells & {*names}:
            raise ConfigError(
                f"cannot use --tasks {directory}: it has {', '.join(names)}, and none of "
                f"{', '.join(sorted(cells))}. Try a comparison on a task with these cells"
            )
        reports[aspect] = ProfiledReport(directory, aspect, report)
    return tuple(reports.values())


def _other_directory(directory: Path) -> str:
    """Return why a directory is not that of a finished comparison on a task, or ""."""
    if (directory / "curriculum.json").exists():
        return "it is of charlm tasks train, with one cell"
    if not (directory / MARKER).exists():
        return "it has no comparison"
    if (kind := read_json(directory / MARKER, ComparisonMarker).kind) != "task":
        return f"it is a comparison {'on a text' if kind == 'text' else 'of runs'}, not on a task"
    return "" if (directory / REPORT_FILE).exists() else "the comparison is not finished"


def aspect_of(task: str) -> Aspect | None:
    """Return the part of a profile that a task measures; None if it measures none."""
    if task == "recall-pairs":
        return "recalls"
    if task.startswith("word-problem-"):
        return "tracks"
    return "counts" if task in ("anbn", "anbncn") else None


def build_profiles(
    entries: Sequence[Entry],
    directory: Path | None,
    unit_kind: UnitKind,
    tasks: Sequence[ProfiledReport],
) -> dict[str, MemoryProfile]:
    """Return the profile of each entry.

    Args:
        entries: Cells, and the Transformer.
        directory: Directory of the comparison, with the results of the probes; None: runs were not
            probed.
        unit_kind: Kind of the units of the test split.
        tasks: Comparisons on tasks.
    """
    profiles = {}
    for entry in entries:
        parts: dict[str, ProfileEntry | None] = {}
        if directory is not None:
            parts = {
                field: probed_part(entry, directory / "probes", field, unit_kind)
                for field in PROBED
            }
        label = cell_label(entry.runs[0].config.cell)
        for each in tasks:
            rows = {row.name: row for row in each.report.rows}
            if label in rows and entry.role == "cell":
                parts[each.aspect] = task_part(each, rows[label])
        profiles[entry.name] = MemoryProfile(**parts)
    return profiles


def probed_part(
    entry: Entry, directory: Path, field: str, unit_kind: UnitKind
) -> ProfileEntry | None:
    """Return the mean over the runs of an entry; None if the probe measured none of them.

    Chance and ceiling are means over the runs as well.
    """
    probe, length = PROBED[field]
    places = read_places([entry], directory, probe)
    if isinstance(places, NoPlaces):
        return None
    runs = [Run(planned.path) for planned in entry.runs]
    outcomes = [read_answer(directory / run_name(run), probe).outcome for run in runs if run.report]
    own = [
        outcome.result.profile
        for outcome in outcomes
        if isinstance(outcome, Measured) and outcome.result.profile
    ]
    return mean_part(entry.name, own, places, length, unit_kind)


def mean_part(
    name: str,
    own: Sequence[ProfileEntry],
    places: Places,
    length: int | None,
    unit_kind: UnitKind,
) -> ProfileEntry | None:
    """Return the mean of a part over the runs of an entry, with its interval.

    Args:
        name: Name of the entry.
        own: The part as each run has it.
        places: What the probe measured of these runs.
        length: Length of context that the part is about; None: the last one.
        unit_kind: Kind of the units.
    """
    lengths = places.lengths.tolist()
    row = len(lengths) - 1 if length is None else lengths.index(length)
    sample = PairedSample.build(*places.at(row), unit_kind, 0)
    value = sample.summary(name).mean
    if not own or value is None:
        return None
    low, high = sample.interval(name) or (None, None)
    return ProfileEntry(
        aspect=own[0].aspect,
        value=value,
        low=low,
        high=high,
        unit=own[0].unit,
        chance=fmean(part.chance for part in own),
        ceiling=fmean(part.ceiling for part in own),
    )


def task_part(each: ProfiledReport, row: TaskRow) -> ProfileEntry:
    """Return how far a cell gets on a task, mean over its runs with an interval.

    A run that diverged, or stopped at a shorter length, got as far as it was shown to get.
    """
    values = [
        max((reached(each, level, seed) for level in row.levels), default=0.0)
        for seed in range(len(row.seeds))
    ]
    low, high = interval_over_seeds(values, each.ceiling) or (None, None)
    return ProfileEntry(
        aspect=each.aspect,
        value=fmean(values),
        low=low,
        high=high,
        unit=UNITS[each.aspect],
        chance=0.0,
        ceiling=each.ceiling,
    )


def reached(each: ProfiledReport, level: LevelSummary, seed: int) -> float:
    """Return how far a run got that was trained at one length; 0 without a result.

    Recall: the pairs whose value is named, less those that a guess names. A model that names any
    value that it has read, without a look-up, recalls one pair. Tracking: the measure of the task.
    Counting: the same as recall, in repeats, also at the multiples of the length.
    """
    if each.aspect == "tracks":
        tracked = level.measures.get("tracked", ())
        return (tracked[seed] if tracked else None) or 0.0
    tests = {level.length: level.accuracy[seed]}
    if each.aspect == "counts":
        for factor, accuracies in level.extrapolation.items():
            tests[int(factor) * level.length] = accuracies[seed]
    best = 0.0
    for length, accuracy in tests.items():
        chance = each.task.chance_score(length).accuracy
        if accuracy is not None and chance < 1:
            best = max(best, length * (accuracy - chance) / (1 - chance))
    return best


def interval_over_seeds(values: Sequence[float], ceiling: float) -> tuple[float, float] | None:
    """Return the 95 % interval of a mean within 0 and the ceiling; None where it is not known.

    It is not known of fewer than two values. Nor is it if all are equal, or at the ends that the
    tests can show: how far runs differ beyond those was not measured.

    Source: Student (1908), "The probable error of a mean".
    """
    if len({*values}) < 2 or {*values} <= {0.0, ceiling}:
        return None
    half = float(student.ppf(1 - SIGNIFICANCE_LEVEL / 2, len(values) - 1))
    half *= stdev(values) / len(values) ** 0.5
    mean = fmean(values)
    return max(0.0, mean - half), min(ceiling, mean + half)


def other_settings(report: TaskReport, entries: Sequence[Entry]) -> Iterator[OtherSetting]:
    """Yield settings by which the models of a task are other ones than those of the same cells."""
    rows = {row.name: row for row in report.rows}
    for entry in entries:
        config = entry.runs[0].config
        row = rows.get(cell_label(config.cell))
        if row is None or entry.role != "cell":
            continue
        settings = {**report.settings, "num_layers": row.num_layers}
        for name in MODEL_SETTINGS:
            if name in CELL_OPTIONS and not may_have_option(config.cell, name):
                continue
            own = getattr(config, name)
            if name in settings and settings[name] != own:
                yield OtherSetting(
                    entry=entry.name, name=name, in_task=settings[name], in_entry=own
                )


def describe_tasks(
    tasks: Sequence[ProfiledReport], entries: Sequence[Entry]
) -> tuple[ProfiledTask, ...]:
    """Return what a report tells of the comparisons on tasks, whose parts the entries have."""
    return tuple(
        ProfiledTask(
            aspect=each.aspect,
            task=each.report.task.name,
            lengths=each.report.lengths,
            matching=each.report.matching,
            ceiling=each.ceiling,
            other_settings=tuple(other_settings(each.report, entries)),
        )
        for each in tasks
    )
