"""Methods of a comparison in plain sentences with all numbers, for a paper to take."""

import math
from collections.abc import Sequence

from charlm.config import describe_blocks, option_name
from charlm.reporting.formatting import pluralize
from charlm.reporting.wording.citations import cite_cell
from charlm.reporting.wording.comparison import (
    describe_carrying,
    describe_documents,
    differs,
)
from charlm.reporting.wording.machine import describe_machine
from charlm.reporting.wording.matching import describe_differences, describe_matching
from charlm.reporting.wording.memory_profile import (
    WAY,
    comparison_profile,
    describe_aspects,
    describe_profiled_tasks,
)
from charlm.reporting.wording.quantities import (
    QUANTITIES,
    format_margin,
    list_names,
    measured_quantities,
    quantity_description,
    quantity_unit,
)
from charlm.reporting.wording.rows import cell_rows, long_unit
from charlm.reporting.wording.tuning import describe_trials, format_setting
from charlm.reporting.wording.verdicts import UNIT_KINDS
from charlm.results.comparison import ComparisonReport, EntryRow
from charlm.results.text import UNICODE_CODE_POINTS
from charlm.results.timing import TimingReport
from charlm.results.verdicts import MAX_PAIRED_CELLS
from charlm.settings.values import DECAY_FRACTION, FINAL_LR_FRACTION, Setting, limit_warmup

UNKNOWN_BITS = math.log2(UNICODE_CODE_POINTS)  # of a code point, whichever it is
SCHEDULES = {
    "wsd": "is {then}constant, and falls to {final:g} % as 1 - sqrt in the last {decay:g} % of the "
    "steps",
    "linear": "{then}falls to {final:g} % linearly",
    "cosine": "{then}falls to {final:g} % as a cosine",
}


def describe_methods(report: ComparisonReport, timing: TimingReport | None) -> list[str]:
    """Return paragraphs on text, models, training, scores, statistics and machine."""
    paragraphs = [
        f"{_describe_cells(report)} {_describe_text(report)}",
        f"{_describe_models(report)} {_describe_training(report)}",
        f"{_describe_scores(report)} {_describe_memory(report)}".rstrip(),
        _describe_profile(report),
        _describe_tests(report),
        _describe_software(report, timing),
    ]
    return [paragraph for paragraph in paragraphs if paragraph]


def _describe_cells(report: ComparisonReport) -> str:
    version = report.environment.get("charlm", "")
    names = list_names([cite_cell(row.name, row.cell) for row in cell_rows(report)])
    return f"We compare the recurrent cells {names} with charlm {version}.".replace(" .", ".")


def _describe_text(report: ComparisonReport) -> str:
    corpus, noun = report.corpus, _noun(report)
    size = f"{corpus.characters:,} characters, " if corpus.characters is not None else ""
    splits = list_names(
        [f"{end - start:,} ({name})" for name, (start, end) in corpus.splits.items()]
    )
    sentences = [
        f"The text is {', '.join(corpus.sources)} ({size}SHA-256 {corpus.sha256}).",
        f"Its splits have {splits} {noun}s.",
    ]
    if corpus.scored_sha256:
        sentences.append(
            f"Scores are those of the {corpus.scored_split} split (SHA-256 of what was scored: "
            f"{corpus.scored_sha256})."
        )
    if excerpt := report.settings.get("test_chars"):
        sentences.append(
            f"It has at most {excerpt:,} {noun}s, an excerpt of each file if there are several."
        )
    return " ".join([*sentences, _describe_vocabulary(report)])


def _describe_vocabulary(report: ComparisonReport) -> str:
    if report.settings.get("vocab") == "bytes":
        return "Tokens are the 256 bytes."
    size = next((item.vocabulary_size for item in report.baselines if item.vocabulary_size), None)
    count = f", {size:,} in all" if size else ""
    frequency = report.settings.get("min_char_frequency")
    rare = (
        f", and one for all that are rarer than 1 in {1 / frequency:,.0f} there"
        if isinstance(frequency, float) and frequency > 0
        else ", and one for all others"
    )
    return (
        f"Tokens are the characters of the training split{rare}{count}; an unknown character costs "
        f"{UNKNOWN_BITS:.1f} bits more than that token."
    )


def _describe_models(report: ComparisonReport) -> str:
    rows, settings = cell_rows(report), report.settings
    matching = f"{describe_matching(report.matching)}{describe_differences(report)}."
    sizes = list_names([f"{row.hidden_size:,} ({row.name})" for row in rows])
    layers = {row.num_layers for row in rows}
    parts = [
        f"{pluralize(layers.pop(), 'layer')} of {describe_blocks(settings)}"
        if len(layers) == 1 and "block" in settings and not differs(report, "conv")
        else "",
        _setting(settings, "embedding_dim", "embeddings of {}"),
        _setting(settings, "dropout", "dropout {}"),
        "tied embeddings" if settings.get("tie_weights") else "",
    ]
    models = ", ".join(part for part in parts if part)
    return f"{matching} Hidden sizes are {sizes}.{f' Models have {models}.' if models else ''}"


def _setting(settings: dict[str, Setting], name: str, form: str) -> str:
    """Return a shared setting in words; "" if it is 0, or differs between cells."""
    value = settings.get(name)
    return form.format(format_setting(value)) if value else ""


def _describe_training(report: ComparisonReport) -> str:
    settings, rows, matching = report.settings, cell_rows(report), report.matching
    sentences = []
    if matching.characters is not None:
        steps = f" in {matching.max_steps:,} steps" if matching.max_steps else ""
        sentences.append(f"Each run reads {matching.characters:,} {_noun(report)}s{steps}.")
    batches = {row.batch_size for row in rows}
    if len(batches) == 1 and "seq_len" in settings:
        resets = _setting(settings, "reset_prob", ", but reset with probability {} in each stream")
        if differs(report, "reset_prob"):
            resets = ", but reset with the probability of --reset-prob in each stream"
        sentences.append(
            f"A step has {batches.pop()} streams of {settings['seq_len']} tokens; the state is "
            f"carried on from step to step{resets}, gradients are not."
        )
        if documents := describe_documents(report):
            sentences.append(f"Within a text a model reads {documents}.")
    clip = _setting(settings, "grad_clip", ", gradients clipped to a norm of {}")
    decay = _setting(settings, "weight_decay", ", weight decay {}")
    sentences.append(
        f"The optimizer is AdamW{_setting(settings, 'beta1', ' (beta1 {})')}{decay}{clip}."
    )
    sentences.append(_describe_rates(report))
    sentences.append(f"{_describe_runs(rows)}; {_describe_starts(report)}.")
    sentences += [
        f"{row.diverged} of {pluralize(len(row.seeds), 'run')} of {row.name} diverged."
        for row in rows
        if row.diverged
    ]
    sentences.append("The weights of the lowest validation are scored.")
    return " ".join(sentences)


def _describe_runs(rows: Sequence[EntryRow]) -> str:
    """Return how many runs each cell has, and of which seeds."""
    if len({row.seeds for row in rows}) == 1:
        number = pluralize(len(rows[0].seeds), "run")
        return f"Each cell has {number} ({_describe_seeds(rows[0].seeds)})"
    runs = [
        f"{pluralize(len(row.seeds), 'run')} of {row.name} ({_describe_seeds(row.seeds)})"
        for row in rows
    ]
    return f"There are {list_names(runs)}"


def _describe_seeds(seeds: Sequence[int]) -> str:
    """Return seeds as a span if they are contiguous, else as a list."""
    seeds = sorted(seeds)
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {list_names(list(map(str, seeds)))}"


def _describe_starts(report: ComparisonReport) -> str:
    """Return what a seed draws, and which cells began with the weights of another run."""
    weights = (report.differing_settings or {}).get("init_from", {})
    given = [
        f"{row.name} with those of {weights[row.name]}"
        for row in cell_rows(report)
        if weights.get(row.name, "none") != "none"
    ]
    if not given:
        return "a seed draws initial weights and the order of the text"
    drawn = "" if len(given) == len(cell_rows(report)) else ", and the initial weights of others"
    return (
        f"a seed draws the order of the text{drawn}. Runs began with trained weights: "
        f"{list_names(given)}"
    )


def _describe_rates(report: ComparisonReport) -> str:
    rates = list_names([f"{row.learning_rate:.3g} ({row.name})" for row in cell_rows(report)])
    course = _describe_schedule(report)
    if report.tuning:
        trials = describe_trials(report.tuning.search)
        return (
            f"Learning rates are tuned for each run: {trials}. Their medians are {rates}.{course}"
        )
    source = "that of each run" if report.kind == "runs" else "from the recipe of each cell"
    if "learning_rate" in report.settings:
        source = f"set by {option_name('learning_rate')}"
    return f"The peak learning rate is {source}: {rates}.{course}"


def _describe_schedule(report: ComparisonReport) -> str:
    """Return how the rate changes, after a space; "" if runs differ in that."""
    form = SCHEDULES.get(str(report.settings.get("lr_schedule")))
    warmup, max_steps = report.settings.get("warmup_steps"), report.matching.max_steps
    if form is None or not isinstance(warmup, int):
        return ""
    rise = f"{warmup} steps, but at most a tenth of a run" if warmup else ""
    if max_steps:
        steps = limit_warmup(warmup, max_steps)
        rise = pluralize(steps, "step") if steps else ""
    course = form.format(
        then="then " if rise else "", final=100 * FINAL_LR_FRACTION, decay=100 * DECAY_FRACTION
    )
    return f" The rate rises over {rise}, {course}." if rise else f" The rate {course}."


def _describe_scores(report: ComparisonReport) -> str:
    return (
        f"Quality is {long_unit(report.unit).replace('bits', 'the number of bits', 1)} of the "
        f"{report.corpus.scored_split} split (protocol {report.protocol}): the split is read once "
        f"as one stream from the initial state, {describe_carrying(report)}, "
        "and every token is scored once; negative log-likelihoods are summed in double precision "
        "and divided once."
    )


def _describe_memory(report: ComparisonReport) -> str:
    measured = [name for name in measured_quantities(report) if name != "bits_per_char"]
    if not measured:
        return ""
    parts = [
        f"{QUANTITIES[name].title}: {quantity_unit(name, report.unit)} "
        f"{quantity_description(name, report.unit)}"
        for name in measured
    ]
    return (
        f"Memory is measured at the same places of the {report.corpus.scored_split} split for all "
        f"runs: {'; '.join(parts)}."
    )


def _describe_profile(report: ComparisonReport) -> str:
    """Return what each part of the memory profile is, and where those of tasks are from."""
    profile = comparison_profile(report)
    if not profile:
        return ""
    noun = "byte" if report.settings.get("vocab") == "bytes" else "character"
    parts = [f"{aspect}: {text}" for aspect, text in describe_aspects(profile, noun)]
    tasks = describe_profiled_tasks(report.profiled_tasks)
    if tasks:
        tasks.append("Their intervals are over these runs, by Student's t.")
    return " ".join([f"The memory profile is the share of {WAY}.", *parts, *tasks])


def _describe_tests(report: ComparisonReport) -> str:
    statistics, cells = report.statistics, cell_rows(report)
    one, several = UNIT_KINDS[statistics.unit_kind]
    units = f"{statistics.units:,} {one if statistics.units == 1 else several}"
    seeds = pluralize(len(cells[0].seeds), "seed")
    judged = any(row.quality.verdict and row.quality.verdict.ci_low is not None for row in cells)
    if not judged:
        return f"With {seeds} and {units} of the split there are no verdicts on differences."
    pairs = (
        "all pairs of cells"
        if len(cells) <= MAX_PAIRED_CELLS
        else f"each cell against {statistics.reference}"
    )
    margins = "; ".join(
        f"{QUANTITIES[name].title} {format_margin(name, statistics.margins[name], report.unit)}"
        for name in measured_quantities(report)
    )
    return (
        f"Intervals are 95 % confidence intervals by a studentized two-way bootstrap of {seeds} "
        f"and {units} of the {report.corpus.scored_split} split; differences are paired by seed "
        f"and unit. Tests are of {pairs}, at a familywise error rate of "
        f"{100 * statistics.level:g} % for each quantity ({statistics.correction}). Cells are "
        f"equal if two one-sided tests show that they differ by less than a margin ({margins})."
    )


def _describe_software(report: ComparisonReport, timing: TimingReport | None) -> str:
    sentences = [f"Runs were made on {describe_machine(report.environment)}."]
    if timing and timing.command:
        sentences.append(f"Command: {timing.command}")
    return " ".join(sentences)


def _noun(report: ComparisonReport) -> str:
    return "byte" if report.settings.get("vocab") == "bytes" else "character"
