"""Sentences about results, the same on a terminal and in a page."""

import math
from collections.abc import Sequence

from charlm.config import describe_block, option_name
from charlm.reporting.formatting import format_bytes, format_count, format_fixed, pluralize
from charlm.results.comparison import (
    BaselineResult,
    ComparisonReport,
    EntryRow,
    InsufficientData,
    Label,
    Matching,
    Power,
    QuantityRange,
    SeedSummary,
    TimingReport,
    Unit,
)
from charlm.results.inspection import InspectedText
from charlm.results.jobs import JobProgress
from charlm.results.tasks import LevelResult, TaskReport
from charlm.results.tuning import CellTuning, SearchPlan, TuningReport

MEASURES = {
    "params": "parameters",
    "flops": "FLOPs per character",
    "state": "floats of state",
}
LABELS: tuple[Label, ...] = ("better", "worse", "equivalent", "inconclusive")
QUANTITIES = {
    "parameters": "parameters",
    "flops_per_character": "FLOPs per character",
    "state_size": "floats of state",
    "max_steps": "steps",
    "characters_read": "characters read",
}


# Text


def token_noun(vocabulary_kind: str) -> str:
    """Return what a token is called: character or byte."""
    return "byte" if vocabulary_kind == "bytes" else "character"


def describe_text_origin(text: InspectedText) -> str:
    """Return where an inspected text is from."""
    if text.source == "test":
        return "the beginning of the test split"
    if text.source == "file":
        return f"the beginning of {text.path}" if text.is_truncated else text.path
    return "the given text" + (", its beginning" if text.is_truncated else "")


def describe_retention(retention: float | None) -> str:
    """Return the time constant of a constant retention; "" if the retention is a gate."""
    if retention is None:
        return ""
    if retention >= 1:
        return "It does not forget."
    time_constant = -1 / math.log(max(retention, 1e-9))
    return f"It forgets in about {time_constant:.3g} characters, always at the same rate."


# Progress


def describe_job(progress: JobProgress) -> str:
    """Return the latest validation of a job; "" before the first."""
    if progress.length is not None:
        accuracy = "" if progress.accuracy is None else f", {progress.accuracy:.0%} correct"
        return f"length {progress.length}{accuracy}"
    if progress.bits is None:
        return ""
    return f"{progress.bits:.3f} bits" if progress.bits < 1000 else f"{progress.bits:.0e} bits"


def describe_parallel_runs(number: int, device: str, is_limited_by_memory: bool = False) -> str:
    """Return how many runs go on in parallel, and whether memory limits them."""
    limit = ": no more fit into memory" if is_limited_by_memory else ""
    return f"{number} in parallel on {device}{limit}"


# Matching


def describe_matching(matching: Matching) -> str:
    """Return what all entries have in common."""
    tolerance = f"within {100 * matching.tolerance:g} %"
    if matching.measure is None:
        equal, unequal = (
            [item for item in matching.quantities if item.is_equal is flag]
            for flag in (True, False)
        )
        text = "These are existing runs: nothing was matched"
        if equal:
            text += f"; equal {tolerance}: {', '.join(QUANTITIES[item.name] for item in equal)}"
        if unequal:
            text += f"; not equal: {', '.join(map(_describe_range, unequal))}"
        return text
    lstm = f"as an LSTM of {matching.parameters:,} parameters"
    if matching.measure == "time":
        error = matching.max_relative_error or 0.0
        return f"All take the same time per step (as measured, within {error:.1%}), {lstm}"
    text = f"All have {matching.amount:,.0f} {MEASURES[matching.measure]} ({tolerance})"
    return text if matching.measure == "params" else f"{text}, {lstm}"


def _describe_range(quantity: QuantityRange) -> str:
    low, high = format_count(quantity.min), format_count(quantity.max)
    return f"{QUANTITIES[quantity.name]} ({low} to {high})"


def describe_differences(report: ComparisonReport) -> str:
    """Return the settings in which existing runs differ; "" if there are none."""
    settings = [
        f"{option_name(name)} "
        + ", ".join(f"{format_setting(value)} ({entry})" for entry, value in values.items())
        for name, values in (report.differing_settings or {}).items()
    ]
    return f". They differ in {'; '.join(settings)}" if settings else ""


def describe_comparison(report: ComparisonReport) -> str:
    """Return what the runs have in common and how they were scored."""
    matching = describe_matching(report.matching)
    scored = f"{report.protocol} on {report.corpus.scored_split}"
    if report.differing_settings is not None:
        return f"{scored[0].upper()}{scored[1:]}. {matching}{describe_differences(report)}"
    errors = ", ".join(f"{row.name} {format_error(row)}" for row in cell_rows(report))
    block = describe_block(str(report.settings["block"]))
    steps = f"{report.matching.max_steps:,} steps"
    protocol = f"{block}, {scored}, {steps}, {describe_tuning(report)}"
    return f"{matching}: {errors}. {protocol[0].upper()}{protocol[1:]}"


# Rows of a comparison


def cell_rows(report: ComparisonReport) -> list[EntryRow]:
    """Return the rows of the cells, without the Transformer."""
    return [row for row in report.rows if row.role == "cell"]


def bits(row: EntryRow, unit: Unit) -> SeedSummary:
    """Return an entry's scores in this unit."""
    return row.bits_per_char if unit == "bits_per_char" else row.bits_per_byte


def baseline_bits(baseline: BaselineResult, unit: Unit) -> float | None:
    """Return a baseline's score in this unit."""
    return baseline.bits_per_char if unit == "bits_per_char" else baseline.bits_per_byte


def short_unit(unit: Unit) -> str:
    """Return the unit as a column head."""
    return unit.replace("bits_per_", "bits/")


def long_unit(unit: Unit) -> str:
    """Return the unit in words."""
    return unit.replace("_", " ").replace("char", "character")


def format_error(row: EntryRow) -> str:
    """Return how far an entry misses the matched budget."""
    return "-" if row.relative_error is None else f"{row.relative_error:+.2%}"


def format_verdict(row: EntryRow) -> str:
    """Return the verdict on a cell in a word or three."""
    if row.diverged:
        return f"diverged {row.diverged} of {len(row.seeds)}"
    return row.verdict.label if row.verdict else "-"


def format_row(row: EntryRow, unit: Unit) -> dict[str, str]:
    """Return the cells of a table's row by column head."""
    mean, verdict = bits(row, unit).mean, row.verdict
    difference = interval = "-"
    if verdict and verdict.difference is not None:
        difference = f"{verdict.difference:+.3f}"
    if verdict and verdict.ci_low is not None and verdict.ci_high is not None:
        interval = f"{verdict.ci_low:+.3f}…{verdict.ci_high:+.3f}"
    return {
        "cell": row.name,
        short_unit(unit): "-" if mean is None else f"{mean:.4f}",
        "to ref.": difference,
        "95 % CI": interval,
        "verdict": format_verdict(row),
        "params": format_count(row.parameters),
        "hidden": f"{row.hidden_size}",
        "state": f"{row.state_size}",
        "FLOPs": format_count(row.flops_per_character),
    }


def format_seed_range(row: EntryRow, unit: Unit) -> str:
    """Return the lowest and the highest seed of a cell."""
    summary = bits(row, unit)
    if summary.min is None or summary.max is None:
        return f"{row.diverged} diverged"
    return f"{summary.min:.3f}–{summary.max:.3f}"


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


# Verdicts


def describe_statistics(report: ComparisonReport) -> str:
    """Return how the verdicts were found."""
    statistics, seeds = report.statistics, len(cell_rows(report)[0].seeds)
    return (
        f"Reference: {statistics.reference}. Differences are paired over "
        f"{pluralize(seeds, 'seed')} and {pluralize(statistics.blocks, 'block')} of text. Margin "
        f"{statistics.margin:g} bits, familywise error rate {100 * statistics.level:g} % "
        f"({statistics.correction})."
    )


def describe_insufficient_data(insufficient: InsufficientData) -> str:
    """Return why there can be no verdict at all."""
    available, needed = insufficient.available, insufficient.needed
    if insufficient.cause == "reference_diverged":
        return f"the reference diverged with {available} of {needed} seeds: choose another"
    if insufficient.cause == "seeds":
        verb = "is" if available == 1 else "are"
        return f"{needed} seeds or more are needed, there {verb} {available}"
    characters = insufficient.characters_needed
    length = f"of {characters:,} characters or more" if characters else "that is longer"
    return f"a test text {length} is needed: this one has {available} of {needed} blocks"


def describe_power(power: Power, margin: float) -> str:
    """Return what it would take to detect a difference of the margin."""
    if power.seeds is None:
        return f"the test text is too short to detect {margin:g} bits, with any number of seeds"
    return f"about {power.seeds} seeds would detect {margin:g} bits"


def verdict_notes(report: ComparisonReport) -> list[str]:
    """Return what a verdict would take, once for all cells that need the same."""
    cells_by_note: dict[str, list[str]] = {}
    for row in report.rows:
        if row.verdict is None:
            continue
        if row.verdict.insufficient:
            note = describe_insufficient_data(row.verdict.insufficient)
        elif row.verdict.power:
            note = describe_power(row.verdict.power, report.statistics.margin)
        else:
            continue
        cells_by_note.setdefault(note, []).append(row.name)
    return [f"{', '.join(cells)}: {note}" for note, cells in cells_by_note.items()]


# Baselines


def baseline_table(report: ComparisonReport) -> tuple[list[str], list[list[str]]]:
    """Return heads and rows of the table of baselines; the Transformer comes last."""
    rows = [
        [item.name, format_fixed(baseline_bits(item, report.unit)), describe_baseline(item)]
        for item in report.baselines
    ]
    for row in report.rows:
        if row.role == "transformer":
            mean = bits(row, report.unit).mean
            tuned = report.tuning is not None
            rows.append([row.name, format_fixed(mean), describe_transformer(row, tuned)])
    return ["baseline", short_unit(report.unit), "description"], rows


def describe_baseline(baseline: BaselineResult) -> str:
    """Return how a baseline was measured."""
    if baseline.missing_package:
        return f"not installed: pip install 'charlm[{baseline.missing_package}]'"
    if baseline.kind == "adaptive":
        if baseline.block_bytes is not None:
            size = format_bytes(baseline.block_bytes)
            return f"adaptive: C(train + test) - C(train), in blocks of {size}"
        if baseline.window_bytes is None:
            return "adaptive: C(train + test) - C(train), looks back at all of it"
        window = format_bytes(baseline.window_bytes)
        return f"adaptive: C(train + test) - C(train), looks back {window}"
    if baseline.vocabulary_size is not None:
        return f"static: uniform over {pluralize(baseline.vocabulary_size, 'token')}"
    counted = "train"
    if baseline.training_is_partial and baseline.training_tokens is not None:
        counted = f"the last {baseline.training_tokens:,} tokens of train"
    if baseline.order is None:
        return f"static: trained on {counted}"
    if baseline.order == 1:
        return f"static: token frequencies in {counted}"
    text = f"static: interpolated Kneser-Ney on {counted}, order {baseline.order}"
    if baseline.max_order is not None and baseline.selection_tokens is not None:
        text += f" of 2 to {baseline.max_order}, chosen on {baseline.selection_tokens:,} tokens"
        text += " of valid"
    return text


def describe_transformer(row: EntryRow, tuned: bool) -> str:
    """Return what the Transformer of a comparison is."""
    seeds = pluralize(len(row.seeds), "seed")
    return (
        f"static: attention in {row.num_layers} residual blocks of {row.hidden_size}, "
        f"{row.parameters:,} parameters, learning rate {row.learning_rate:g}, "
        f"{'tuned as the cells were' if tuned else 'not tuned'}; "
        + (f"{row.diverged} of {seeds} diverged" if row.diverged else f"mean of {seeds}")
    )


# Tuning


def describe_tuning(report: ComparisonReport) -> str:
    """Return how the cells got their settings."""
    rate = report.settings.get("learning_rate")  # missing where it was searched for each cell
    shared = "" if rate is None else f"one learning rate {format_setting(rate)}, "
    if report.tuning:
        return shared + ("the rest tuned for each cell" if shared else "tuned for each cell")
    return shared + "not tuned for each cell"


def describe_trials(search: SearchPlan) -> str:
    """Return the number of trials and their cost."""
    return (
        f"{pluralize(search.trials, 'trial')} of each cell, which cost "
        f"{search.cost_in_runs:.2g} times as much as one of its runs"
    )


def format_setting(value: float | str | None) -> str:
    """Return a setting; a dash where the cell has no such setting."""
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else f"{value}"


def format_tuning_row(cell: str, tuning: CellTuning, names: Sequence[str]) -> dict[str, str]:
    """Return what was chosen for a cell by column head; names: the searched settings."""
    chosen = tuning.chosen
    diverged = sum(None in trial.bits for trial in tuning.trials)
    return {
        "cell": cell,
        **{name.replace("_", " "): format_setting(chosen.settings.get(name)) for name in names},
        "trial": f"{chosen.number}",
        "valid bits": "-" if chosen.bits is None else f"{chosen.bits:.3f}",
        "diverged": f"{diverged}",
    }


def boundary_warnings(tuning: TuningReport) -> list[str]:
    """Return a sentence for each cell whose search was too narrow, or found nothing."""
    space = tuning.search.space
    warnings = []
    for cell, found in tuning.cells.items():
        if found.chosen.bits is None or found.chosen.bits > tuning.uniform_baseline_bits:
            option = "--lr-range" if "learning_rate" in space else "--lr"
            warnings.append(
                f"{cell}: not tuned, because no trial did better than a uniform code. Try lower "
                f"learning rates with {option}."
            )
        elif found.at_boundary:
            low, high = (float(bound) for bound in space["learning_rate"])
            is_low = found.at_boundary == "low"
            low, high = (low / 10, high) if is_low else (low, high * 10)
            warnings.append(
                f"{cell}: chosen at the edge of the range, so a {'lower' if is_low else 'higher'} "
                f"learning rate may be better. Try --lr-range {low:g}..{high:g}, or more --trials."
            )
    return warnings


# Tasks


def describe_level(level: LevelResult) -> str:
    """Return the result of training at a length in one line."""
    if level.test is None:
        return f"length {level.length}: diverged after {level.steps:,} steps"
    verdict = "solved" if level.is_solved else "not solved"
    longer = ", ".join(
        f"{accuracy:.1%} at {factor} × length" for factor, accuracy in level.extrapolation.items()
    )
    return (
        f"length {level.length}: {verdict} after {level.steps:,} steps, "
        f"{level.test.accuracy:.1%} correct, loss {level.test.loss:.2g}; {longer}"
        + (f"; {level.divergence}" if level.divergence else "")
    )


def describe_criterion(report: TaskReport) -> str:
    """Return when a length counts as solved."""
    text = f"at least {100 * report.solved_accuracy:g} % of the answers are correct"
    if report.solved_relative_loss is not None:
        text += f", or the loss is at most {100 * report.solved_relative_loss:g} % of chance's"
    return text


def format_solved_length(length: int) -> str:
    """Return a longest solved length."""
    return f"{length:,}" if length else "none"


def summarize_task_comparison(report: TaskReport) -> str:
    """Return the longest solved length in a sentence or two."""
    rows, lengths = report.rows, report.lengths
    best = rows[0].max_solved_length
    if not best:
        return f"Most seeds of each cell do not even solve length {lengths[0]:,}."
    names = ", ".join(row.name for row in rows if row.max_solved_length == best)
    seeds = len(rows[0].seeds)
    basis = f" in the lower median of {seeds} seeds" if seeds > 1 else ", with one seed"
    longest = " It is the longest length that was tried." if best == lengths[-1] else ""
    return f"{names}: up to length {best:,}{basis}.{longest}"
