"""Memory profiles in words and numbers: each part of a memory between chance and ceiling."""

from collections.abc import Sequence
from typing import NamedTuple

from charlm.config import option_name
from charlm.reporting.formatting import format_number, format_with_interval, pluralize
from charlm.reporting.wording.quantities import list_names
from charlm.results.comparison import ComparisonReport, ProfiledTask
from charlm.results.probes import Aspect, Measured, ProbesReport, ProfileEntry

Profile = dict[str, dict[Aspect, ProfileEntry]]  # by name of the run, or cell, and aspect
WAY = "the way from no memory (0 %, chance) to a perfect one (100 %, ceiling)"
ASPECTS: dict[Aspect, tuple[str, str]] = {  # aspect -> what it is, and what its ceiling is
    "holds": (
        "bits about the {noun} 16 back that a linear readout finds in the state",
        "the entropy of a {noun}",
    ),
    "uses": (
        "bits lost per {noun} if all further back than 64 {noun}s is other text",
        "all that the model gains from context",
    ),
    "looks up": (
        "bits saved on a rare word that it read 64 to 1,024 {noun}s before",
        "all that the word costs otherwise",
    ),
    "recalls": (
        "pairs of a key and a value that it recalls; one is naming any value that was read",
        "all pairs",
    ),
    "tracks": (
        "elements of a group whose product it tracks, in 90 % of the sequences",
        "the longest test",
    ),
    "counts": ("repeats of a letter that it counts", "the longest test"),
    "survives": (
        "bits lost per {noun} in the farthest windows from a fresh start; chance is a model that "
        "has lost all that it gains from context",
        "nothing lost",
    ),
}


class Share(NamedTuple):
    """Share of the way from chance to ceiling, with its interval."""

    value: float
    low: float | None
    high: float | None


def memory_profile(report: ProbesReport) -> Profile:
    """Return what each run was found to remember, of runs of which anything was measured."""
    profile: Profile = {}
    for run in report.runs:
        outcomes = (probe.outcomes.get(run.name) for probe in report.probes.values())
        entries = [each.result.profile for each in outcomes if isinstance(each, Measured)]
        measured: dict[Aspect, ProfileEntry] = {entry.aspect: entry for entry in entries if entry}
        if measured:
            profile[run.name] = {name: measured[name] for name in ASPECTS if name in measured}
    return profile


def comparison_profile(report: ComparisonReport) -> Profile:
    """Return what the cells were found to remember, of cells of which anything was measured."""
    return {
        row.name: {entry.aspect: entry for entry in row.profile.entries}
        for row in report.cells
        if row.profile.entries
    }


def explain_profile(profile: Profile) -> str:
    """Return what the numbers of a profile are, and why they have no interval where none has."""
    if any(entry.low is not None for parts in profile.values() for entry in parts.values()):
        return f"The share of {WAY}, with its 95 % interval."
    return f"The share of {WAY}. The runs are too few, or too much alike, for an interval."


def describe_profiled_tasks(tasks: Sequence[ProfiledTask]) -> list[str]:
    """Return where the parts of a profile are from that comparisons on tasks have measured."""
    sentences = []
    for each in tasks:
        parameters, steps = each.matching.parameters, each.matching.max_steps
        facts = [f"lengths {', '.join(f'{length:,}' for length in each.lengths)}"]
        facts += [f"{parameters:,} parameters"] if parameters else []
        facts += [f"at most {pluralize(steps, 'step')} a length"] if steps else []
        sentences.append(
            f"“{each.aspect}” is of other runs of the same cells, trained on the task {each.task} "
            f"({'; '.join(facts)}){_describe_other_settings(each)}."
        )
    return sentences


def _describe_other_settings(task: ProfiledTask) -> str:
    """Return by which settings the models of a task are other ones; "" if by none."""
    entries: dict[str, list[str]] = {}
    for each in task.other_settings:
        setting = f"{option_name(each.name)} {each.in_task}, not {each.in_entry}"
        entries.setdefault(setting, []).append(each.entry)
    differences = [f"{setting} as {list_names(names)} here" for setting, names in entries.items()]
    return f". They are other models, with {'; '.join(differences)}" if differences else ""


def measured_aspects(profile: Profile) -> list[Aspect]:
    """Return the aspects that any run has, in the order of a table."""
    return [aspect for aspect in ASPECTS if any(aspect in entries for entries in profile.values())]


def entries_by_aspect(profile: Profile) -> dict[Aspect, dict[str, ProfileEntry]]:
    """Return the entries of each measured aspect, by name."""
    return {
        aspect: {name: entries[aspect] for name, entries in profile.items() if aspect in entries}
        for aspect in measured_aspects(profile)
    }


def share_of(entry: ProfileEntry) -> Share | None:
    """Return the place of a value between chance and ceiling.

    It is None where the ceiling is no better than chance, as of a model that gains nothing from
    context.
    """
    width = entry.ceiling - entry.chance
    falls = entry.aspect == "survives"  # fewer bits lost are better
    if width == 0 or (width < 0) != falls:
        return None
    ends = [
        None if bits is None else (bits - entry.chance) / width for bits in (entry.low, entry.high)
    ]
    low, high = reversed(ends) if falls else ends
    return Share((entry.value - entry.chance) / width, low, high)


def format_share(entry: ProfileEntry | None, *, has_interval: bool = True) -> str:
    """Return the share in percent, with its interval if wanted; a dash without one."""
    share = share_of(entry) if entry else None
    if share is None:
        return "–"
    value, low, high = share
    if low is None or high is None or not has_interval:
        return _percent(value)
    return f"{_percent(value)} ({_percent(low)} to {_percent(high)})"


def _percent(share: float) -> str:
    """Return a share in percent, without a sign before zero."""
    return f"{round(100 * share, 1) + 0.0:.1f}".replace("-", "−")


def profile_table(profile: Profile, head: str = "run") -> tuple[list[str], list[list[str]]]:
    """Return heads and a row per run: the share of each aspect; head: of the first column."""
    aspects = measured_aspects(profile)
    rows = [
        [run, *(format_share(entries.get(aspect)) for aspect in aspects)]
        for run, entries in profile.items()
    ]
    return [head, *(f"{aspect}, %" for aspect in aspects)], rows


def detail_table(profile: Profile, head: str = "run") -> tuple[list[str], list[list[str]]]:
    """Return heads and a row per run and aspect: value, chance and ceiling."""
    rows = [
        [
            run,
            aspect,
            format_value(entry),
            format_number(entry.chance),
            format_number(entry.ceiling),
            entry.unit,
        ]
        for run, entries in profile.items()
        for aspect, entry in entries.items()
    ]
    return [head, "aspect", "value", "chance", "ceiling", "unit"], rows


def describe_aspects(profile: Profile, noun: str) -> list[tuple[str, str]]:
    """Return each measured aspect and what it is, with chance and ceiling; noun: of a token."""
    described: list[tuple[str, str]] = []
    for aspect in measured_aspects(profile):
        entries = [own[aspect] for own in profile.values() if aspect in own]
        meaning, ceiling = (text.format(noun=noun) for text in ASPECTS[aspect])
        chances = _range([entry.chance for entry in entries])
        ceilings = _range([entry.ceiling for entry in entries])
        text = f"{meaning}. Chance: {chances}. Ceiling: {ceilings}, {ceiling}."
        described.append((aspect, text))
    return described


def format_value(entry: ProfileEntry) -> str:
    """Return a value with its interval, if it has one."""
    if entry.low is None or entry.high is None:
        return format_number(entry.value)
    value, interval = format_with_interval(entry.value, entry.low, entry.high)
    return f"{value} ({interval})"


def _range(values: Sequence[float]) -> str:
    """Return a value, or the lowest and the highest of several."""
    texts = [f"{value:.2f}".rstrip("0").rstrip(".") for value in (min(values), max(values))]
    return " to ".join(dict.fromkeys(texts)).replace("-", "−")
