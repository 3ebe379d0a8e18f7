"""Page of a comparison on a text."""

from collections.abc import Sequence

import msgspec

from charlm.config import describe_blocks, option_name
from charlm.reporting.figures import make_legend
from charlm.reporting.formatting import format_count, format_number
from charlm.reporting.html.answer_table import make_answer_table, memory_table
from charlm.reporting.html.budget import bracket_table, budget_figures, learning_curves
from charlm.reporting.html.forest import forest_plots
from charlm.reporting.html.memory_profile import comparison_section
from charlm.reporting.html.page import render_template
from charlm.reporting.html.probes import ProbeSection, probe_section
from charlm.reporting.html.quality_plot import quality_plot
from charlm.reporting.html.tuning import tuning_section
from charlm.reporting.memory_figure import has_memory_figure, memory_svg
from charlm.reporting.wording.answer import answer_comparison
from charlm.reporting.wording.baselines import baseline_table
from charlm.reporting.wording.comparison import describe_carrying
from charlm.reporting.wording.findings import describe_findings
from charlm.reporting.wording.machine import describe_machine
from charlm.reporting.wording.matching import describe_differences, describe_matching
from charlm.reporting.wording.quantities import (
    QUANTITIES,
    measured_quantities,
    quantity_description,
    quantity_unit,
)
from charlm.reporting.wording.rows import format_error, format_seed_range, short_unit
from charlm.reporting.wording.text import token_noun
from charlm.reporting.wording.tuning import describe_tuning
from charlm.reporting.wording.verdicts import describe_statistics, verdict_notes
from charlm.results.comparison import ComparisonReport, ComparisonResult, EntryRow
from charlm.results.probes import ProbesReport
from charlm.results.timing import TimingReport


def render_comparison(result: ComparisonResult) -> bytes:
    """Return the page of a comparison on a text or of existing runs."""
    report = result.report
    legend = make_legend([row.name for row in report.cells])
    recipes = [_recipe_row(report, row, result.timing) for row in report.cells]
    return render_template(
        "comparison.html",
        report=report,
        command=result.timing.command,
        answer=answer_comparison(report),
        table=make_answer_table(report, result.timing),
        measured=_measured(report),
        findings=[*describe_findings(report, result.timing), *verdict_notes(report)],
        statistics=describe_statistics(report),
        machine=describe_machine(report.environment),
        matching=_describe_protocol(report),
        quality=quality_plot(report, legend),
        memory=memory_svg(report, legend) if has_memory_figure(report) else None,
        memory_numbers=memory_table(report),
        budget=[*budget_figures(report, legend), *learning_curves(report, result.curves, legend)],
        forest=forest_plots(report, legend),
        baselines=baseline_table(report),
        recipes=(list(recipes[0]), [list(row.values()) for row in recipes]),
        bracket=bracket_table(report.budget),
        tuning=tuning_section(report.tuning, legend) if report.tuning else None,
        sections=probe_sections(result.probes, report.cells) if result.probes else [],
        profile=comparison_section(report),
        samples=[(row.name, result.samples.get(row.name)) for row in report.cells],
        provenance=provenance(report),
        carrying=describe_carrying(report),
        settings=[(option_name(name), str(value)) for name, value in report.settings.items()],
    )


def _measured(report: ComparisonReport) -> list[tuple[str, str]]:
    """Return the name and the meaning of each quantity of memory that was measured."""
    return [
        (
            QUANTITIES[quantity].title,
            f"{quantity_unit(quantity, report.unit)} {quantity_description(quantity, report.unit)}",
        )
        for quantity in measured_quantities(report)
        if quantity != "bits_per_char"
    ]


def _recipe_row(report: ComparisonReport, row: EntryRow, timing: TimingReport) -> dict[str, str]:
    times = timing.cells.get(row.name)
    return {
        "cell": row.name,
        "learning rate": f"{row.learning_rate:.3g}",
        "batch": f"{row.batch_size}",
        f"{short_unit(report.unit)} by seed": format_seed_range(row, report.unit),
        "hidden": f"{row.hidden_size:,}",
        "params": f"{row.parameters:,}",
        "error": format_error(row),
        "FLOPs": format_count(row.flops_per_character),
        "minutes": format_number(times.minutes if times else None),
    }


def _describe_protocol(report: ComparisonReport) -> str:
    matching, settings = describe_matching(report.matching), report.settings
    if report.differing_settings is not None:
        return f"{matching}{describe_differences(report)}."
    return (
        f"{matching}. All read the same {report.matching.characters:,} characters in the same "
        f"order; {describe_blocks(settings)}; {describe_tuning(report)}."
    )


def probe_sections(probes: ProbesReport, rows: Sequence[EntryRow]) -> list[ProbeSection]:
    """Return the parts of all probes; runs get the order and the names of the rows.

    So colors are the same as elsewhere on the page.
    """
    cells = {run: row.name for row in rows for run in row.runs}
    runs = {run.name: run for run in probes.runs}
    named = [
        msgspec.structs.replace(runs[name], cell=cell)
        for name, cell in cells.items()
        if name in runs
    ]
    noun = token_noun(probes.text.vocabulary_kind)
    return [probe_section(name, probe, named, noun) for name, probe in probes.probes.items()]


def provenance(report: ComparisonReport) -> list[tuple[str, str]]:
    """Return all that identifies the text, its splits and the software."""
    corpus = report.corpus
    splits = ", ".join(f"{name} {end - start:,}" for name, (start, end) in corpus.splits.items())
    environment = ", ".join(f"{name} {value}" for name, value in report.environment.items())
    return [
        ("text", ", ".join(corpus.sources)),
        ("SHA-256", corpus.sha256),
        ("splits", splits),
        (f"SHA-256 of {corpus.scored_split}", corpus.scored_sha256 or "–"),
        ("protocol", report.protocol),
        ("environment", environment),
    ]
