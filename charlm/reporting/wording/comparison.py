"""Result of a comparison in words."""

from charlm.config import describe_block
from charlm.reporting.formatting import pluralize
from charlm.reporting.wording.baselines import baseline_bits
from charlm.reporting.wording.matching import describe_differences, describe_matching
from charlm.reporting.wording.rows import bits, cell_rows, format_error, long_unit
from charlm.reporting.wording.tuning import describe_tuning
from charlm.results.comparison import ComparisonReport, EntryRow, Label, TimingReport

LABELS: tuple[Label, ...] = ("better", "worse", "equivalent", "inconclusive")


def summarize_comparison(report: ComparisonReport) -> str:
    """Return the result in a few sentences, in the words of the verdicts."""
    rows, unit, statistics = cell_rows(report), report.unit, report.statistics
    (reference,) = (row for row in rows if row.name == statistics.reference)
    seeds = len(reference.seeds)
    diverged = "".join(
        f" {row.name}: {row.diverged} of {pluralize(seeds, 'seed')} diverged."
        for row in rows
        if row.diverged
    )
    if bits(rows[0], unit).mean is None:
        return f"No cell finished with all of its seeds.{diverged}"
    summary, mean = f"Compared with {reference.name}", bits(reference, unit).mean
    if mean is not None:
        mean_of = f"mean of {seeds} seeds" if seeds > 1 else "one seed"
        summary += f" ({mean:.4f} {long_unit(unit)}, {mean_of})"
    groups = []
    for label in LABELS:
        names = [row.name for row in rows if row.verdict and row.verdict.label == label]
        margin = f" within {statistics.margin:g} bits" if label == "equivalent" else ""
        groups += [f"{label}{margin}: {', '.join(names)}"] if names else []
    verdicts = "; ".join(groups) or "there is no other cell"
    return f"{summary}, {verdicts}.{diverged}{_describe_better_baselines(report, rows[0])}"


def _describe_better_baselines(report: ComparisonReport, best: EntryRow) -> str:
    """Return which baselines need fewer bits than every cell, and why they may."""
    best_bits = bits(best, report.unit).mean
    assert best_bits is not None
    scores = [(item, baseline_bits(item, report.unit)) for item in report.baselines]
    better = [item for item, score in scores if score is not None and score < best_bits]
    scored = [
        f"{item.name} ({score:.4f})"
        for item, score in scores
        if score is not None and score < best_bits
    ]
    transformers = (row for row in report.rows if row.role == "transformer")
    means = ((row.name, bits(row, report.unit).mean) for row in transformers)
    scored += [
        f"{name} ({mean:.4f})" for name, mean in means if mean is not None and mean < best_bits
    ]
    if not scored:
        return ""
    text = f" Fewer bits than every cell: {', '.join(scored)}."
    adaptive = [item.name for item in better if item.kind == "adaptive"]
    if adaptive:
        text += (
            f" ({', '.join(adaptive)}: adaptive compressors. They go on learning from test while "
            "they read it, and a run does not.)"
        )
    return text


def describe_comparison(report: ComparisonReport) -> str:
    """Return the matched budget, the shared settings and the scoring of the runs."""
    matching = describe_matching(report.matching)
    scored = f"{report.protocol} on {report.corpus.scored_split}"
    if report.differing_settings is not None:
        return f"{scored[0].upper()}{scored[1:]}. {matching}{describe_differences(report)}"
    errors = ", ".join(f"{row.name} {format_error(row)}" for row in cell_rows(report))
    block = describe_block(str(report.settings["block"]))
    steps = f"{report.matching.max_steps:,} steps"
    protocol = f"{block}, {scored}, {steps}, {describe_tuning(report)}"
    return f"{matching}: {errors}. {protocol[0].upper()}{protocol[1:]}"


def describe_timing(timing: TimingReport) -> str:
    """Return the seconds per million characters of each entry, fastest first."""
    seconds = sorted(
        (entry.seconds_per_million, name)
        for name, entry in timing.cells.items()
        if entry.seconds_per_million is not None
    )
    entries = ", ".join(f"{name} {each:.3g}" for each, name in seconds)
    return f"Seconds of training per million characters: {entries or '-'}."


def describe_timing_minutes(timing: TimingReport) -> str:
    """Return the minutes per run of each entry, fastest first."""
    minutes = sorted(
        (entry.minutes, name) for name, entry in timing.cells.items() if entry.minutes is not None
    )
    entries = ", ".join(f"{name} {each:.1f}" for each, name in minutes)
    return f"Minutes of training per seed: {entries or '-'}."
