"""Findings below the table of a comparison: plain sentences that qualify its answer."""

from collections.abc import Sequence

from charlm.reporting.formatting import format_duration, pluralize
from charlm.reporting.wording.baselines import READ_NGRAM, baseline_bits
from charlm.reporting.wording.comparison import describe_resets, differs
from charlm.reporting.wording.probes import describe_reason
from charlm.reporting.wording.quantities import (
    QUANTITIES,
    find_verdict,
    format_difference,
    format_difference_interval,
    format_margin,
    judged_quantity,
    list_names,
    mean,
    rank_cells,
    verdict_word,
)
from charlm.reporting.wording.rows import cell_rows, short_unit
from charlm.reporting.wording.text import describe_text_note, token_noun
from charlm.reporting.wording.tuning import format_fraction
from charlm.results.comparison import Bracket, Budget, ComparisonReport
from charlm.results.timing import TimingReport

UNMEASURED = {
    "disabled": "it was not asked for",
    "diverged": "no cell has a run to measure",
    "text_gone": "the text is gone or has changed",
    "other_documents": "probes of cells that differ in --documents have other places",
    "not_applicable": "it does not apply to this text",
}


def describe_findings(report: ComparisonReport, timing: TimingReport) -> list[str]:
    """Return all sentences, in the order of their weight for the answer."""
    sentences = [*describe_failures(report), describe_reading(report)]
    if report.budget:
        sentences += [describe_order(report.budget), describe_falling(report, report.budget)]
    sentences += [describe_ngrams(report)]
    if report.budget:
        sentences += [describe_gradient(report.budget), *describe_bracket(report.budget)]
    sentences += [describe_equal(report), *describe_pairs(report)]
    sentences += describe_unmeasured(report)
    sentences += describe_linear_cells(report.linear_cells, report.bare_linear_cells)
    sentences += [f"Note: {describe_text_note(note)}." for note in report.corpus.notes]
    sentences += [describe_cpu(timing)]
    return [sentence for sentence in sentences if sentence]


def describe_failures(report: ComparisonReport) -> list[str]:
    """Return a sentence for each cell with a seed that diverged."""
    sentences = []
    for row in cell_rows(report):
        if not row.diverged:
            continue
        seeds, median = len(row.seeds), row.quality.value.median
        if median is None:
            sentences.append(f"{row.name}: all {pluralize(seeds, 'seed')} diverged.")
        else:
            sentences.append(
                f"{row.name}: {row.diverged} of {pluralize(seeds, 'seed')} diverged; median of the "
                f"others {median:.3f} {short_unit(report.unit)}."
            )
    return sentences


def describe_reading(report: ComparisonReport) -> str:
    """Return that existing runs do not read the scored text alike; "" if they do."""
    if not differs(report, "documents"):
        return ""
    settings = (report.differing_settings or {})["documents"]
    readings: dict[str, list[str]] = {}
    for name, setting in settings.items():
        readings.setdefault(str(setting), []).append(name)
    parts = [
        f"{list_names(names)} with the state carried on"
        if setting == "none"
        else f"{list_names(names)} with {describe_resets(setting)}"
        for setting, names in readings.items()
    ]
    return (
        f"The text is not read alike: {'; '.join(parts)}. So these cells do not differ as cells "
        "alone."
    )


def describe_order(budget: Budget) -> str:
    """Return whether the order of the cells was the same at all parts of the budget."""
    if budget.order_is_stable is None or len(budget.points) < 2:
        return ""
    if budget.order_is_stable:
        *parts, _ = (format_fraction(point.fraction) for point in budget.points)
        ranking = ", ".join(budget.points[-1].ranking)
        return (
            f"The order by validation was the same at {', '.join(parts)} and all of the budget: "
            f"{ranking}."
        )
    orders = [
        f"At {format_fraction(point.fraction)} ({point.characters:,} characters): "
        f"{', '.join(point.ranking)}"
        for point in budget.points
    ]
    return f"The order by validation was not the same. {'. '.join(orders)}."


def describe_falling(report: ComparisonReport, budget: Budget) -> str:
    """Return how many bits a doubling of the budget still brings.

    One cell may gain up to twice as much as another. A doubling that brings more than two margins
    can then change their difference by more than the margin.
    """
    falls = budget.bits_per_doubling
    if not falls:
        return ""
    each = ", ".join(f"{name} {fall:.3f}" for name, fall in falls.items())
    text = f"The last doubling of the budget brought {each} bits"
    if max(falls.values()) > 2 * report.statistics.margins["bits_per_char"]:
        return f"{text}: still falling, so this is about early training."
    return f"{text}: hardly anything."


def describe_ngrams(report: ComparisonReport) -> str:
    """Return the scores of all baselines, first of the n-gram of what a run has read."""
    unit, short = report.unit, short_unit(report.unit)
    noun = token_noun(str(report.settings.get("vocab", "")))
    sentences: list[str] = []
    static: list[str] = []
    adaptive: list[str] = []
    for item in report.baselines:
        bits = baseline_bits(item, unit)
        if bits is None:
            continue
        if item.name == READ_NGRAM and item.training_tokens is not None:
            edge = ", the highest that was tried" if item.is_at_edge else ""
            sentences.append(
                f"An n-gram of the {pluralize(item.training_tokens, noun)} that a run has read "
                f"needs {bits:.3f} {short} (order {item.order}{edge}){_than_cells(report, bits)}."
            )
            continue
        scored = f"{item.name} {bits:.3f}"
        (static if item.kind == "static" else adaptive).append(scored)
    for row in report.rows:
        value = mean(row, "bits_per_char")
        if row.role == "transformer" and value is not None:
            static.append(f"{row.name} {value:.3f}")
    if static:
        sentences.append(f"Baselines of all of train: {', '.join(static)} {short}.")
    if adaptive:
        sentences.append(
            f"Compressors, which go on learning from the test text: {', '.join(adaptive)} {short}."
        )
    return " ".join(sentences)


def _than_cells(report: ComparisonReport, bits: float) -> str:
    """Return that a baseline with these bits is better than every cell; "" if it is not."""
    ranked = rank_cells(report, "bits_per_char")
    best = mean(ranked[0], "bits_per_char") if ranked else None
    return ", fewer than any cell" if best is not None and bits < best else ""


def describe_gradient(budget: Budget) -> str:
    """Return how far the gradient reached."""
    return (
        f"The gradient reached {pluralize(budget.gradient_reach, 'character')} back: what is "
        "further away could be kept, but keeping it was not learnt."
    )


def describe_bracket(budget: Budget) -> list[str]:
    """Return a warning for each recipe that does not fit the text, and what is known of others."""
    sentences, fits = [], []
    for bracket in budget.bracket:
        if (fit := bracket.fit) is None:
            sentences.append(_describe_unknown_fit(bracket))
            continue
        best = f"{fit.best:.2f} [{fit.ci_low:.2f}, {fit.ci_high:.2f}]"
        if fit.recipe_fits:
            fits.append(f"{bracket.cell} {best}")
        else:
            sentences.append(
                f"{bracket.cell}: its recipe does not fit this text. After "
                f"{bracket.characters:,} characters the best learning rate is {best} × that of "
                f"the recipe, which loses {fit.loss:.3f} bits. Try --trials 6."
            )
    if fits:
        sentences.append(
            f"Best learning rate after {budget.bracket[0].characters:,} characters, over that of "
            f"the recipe: {', '.join(fits)}. None of these recipes is shown to be wrong."
        )
    return sentences


def _describe_unknown_fit(bracket: Bracket) -> str:
    lost = [f"{point.factor:g} ×" for point in bracket.points if point.bits is None]
    why = (
        f"all runs at {list_names(lost)} its learning rate diverged"
        if lost
        else "one seed does not show by how much runs differ"
    )
    return f"{bracket.cell}: whether its recipe fits this text is unknown, as {why}."


def describe_equal(report: ComparisonReport) -> str:
    """Return the margins of "equal", and what margins would be needed where it is unclear."""
    parts = []
    for quantity, words in QUANTITIES.items():
        margin = format_margin(quantity, report.statistics.margins[quantity], report.unit)
        verdicts = [
            (row.name, measured.verdict)
            for row in report.cells
            if (measured := judged_quantity(row, quantity)) and measured.verdict
        ]
        used = {verdict_word(quantity, verdict) for _, verdict in verdicts}
        needed = [
            f"{name} {format_margin(quantity, verdict.power.smallest_margin, report.unit)}"
            for name, verdict in verdicts
            if verdict_word(quantity, verdict) == "unclear" and verdict.power
        ]
        if needed:
            parts.append(
                f"{words.title} within {margin} (these data could show only: {', '.join(needed)})"
            )
        elif "equal" in used:
            parts.append(f"{words.title} within {margin}")
    return f"Equal means: {'; '.join(parts)}." if parts else ""


def describe_pairs(report: ComparisonReport) -> list[str]:
    """Return the verdicts on the pairs of cells without the reference, best cell first."""
    sentences = []
    ranked = rank_cells(report, "bits_per_char")
    rows = [row for row in ranked if row.name != report.statistics.reference]
    for number, row in enumerate(rows):
        for other in rows[number + 1 :]:
            parts = []
            for quantity, words in QUANTITIES.items():
                verdict = find_verdict(report, quantity, row.name, other.name)
                if verdict is None or not (word := verdict_word(quantity, verdict)):
                    continue
                difference = format_difference(quantity, verdict.difference)
                interval = format_difference_interval(quantity, verdict)
                parts.append(f"{words.title} {difference} {interval} {word}")
            if parts:
                sentences.append(f"{row.name} against {other.name}: {', '.join(parts)}.")
    return sentences


def describe_unmeasured(report: ComparisonReport) -> list[str]:
    """Return why quantities have no value, once for all that share the cause and the entry."""
    titles: dict[tuple[str, str], list[str]] = {}
    for missing in report.unmeasured:
        why = UNMEASURED[missing.cause]
        if missing.reason is not None:
            why = describe_reason(missing.reason).rstrip(".")
        of = ""
        if missing.entry is not None:
            of = f" of {missing.entry} ({pluralize(missing.seeds or 0, 'seed')})"
        titles.setdefault((of, why), []).append(QUANTITIES[missing.quantity].title)
    return [
        f"Not measured{of}, because {why}: {', '.join(names)}."
        for (of, why), names in titles.items()
    ]


def describe_linear_cells(linear: Sequence[str], bare: Sequence[str]) -> list[str]:
    """Return that cells are in residual blocks, or bare, because some are linear in their state.

    Args:
        linear: Cells because of which all cells are in residual blocks.
        bare: Cells that are bare beside others, as requested.
    """
    sentences = []
    if linear:
        sentences.append(
            f"{list_names(linear)} {_be(linear)} linear in the state, so all cells are in residual "
            "blocks: bare, no more than a linear map of the past is possible."
        )
    if bare:
        sentences.append(
            f"{list_names(bare)} {_be(bare)} linear in the state and bare, as asked for: to be "
            "behind other cells is no finding. Try --block residual."
        )
    return sentences


def _be(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def describe_cpu(timing: TimingReport) -> str:
    """Return the share of the CPU seconds that updated the runs that are judged."""
    if timing.cpu is None:
        return ""
    total, share = format_duration(timing.cpu.total), f"{100 * timing.cpu.judged_share:.0f} %"
    both = f"{100 * timing.cpu.judged_share_with_branches:.0f} %"
    return (
        f"Of {total} of CPU time, {share} went into updates of the runs that are judged; with "
        f"those of their branches, {both}."
    )
