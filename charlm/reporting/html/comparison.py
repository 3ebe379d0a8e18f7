"""Page of a comparison on a text."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from charlm.config import describe_block, option_name
from charlm.reporting.figures import (
    Figure,
    FigureSpec,
    LegendEntry,
    Series,
    draw_figure,
    make_legend,
)
from charlm.reporting.formatting import format_number
from charlm.reporting.html.forest import forest_plot
from charlm.reporting.html.page import render_template
from charlm.reporting.html.probes import ProbeSection, probe_section
from charlm.reporting.html.tuning import tuning_section
from charlm.reporting.wording.baselines import baseline_table
from charlm.reporting.wording.comparison import summarize_comparison
from charlm.reporting.wording.matching import describe_differences, describe_matching
from charlm.reporting.wording.rows import cell_rows, format_error, format_row, format_seed_range
from charlm.reporting.wording.text import token_noun
from charlm.reporting.wording.tuning import describe_tuning
from charlm.reporting.wording.verdicts import describe_statistics, verdict_notes
from charlm.results.comparison import (
    ComparisonReport,
    ComparisonResult,
    EntryRow,
    TimingReport,
    ValidationCurve,
    ValidationPoint,
)
from charlm.results.probes import ProbesReport

TRAINING_FLOP_FACTOR = 3  # a backward pass costs as much as two forward passes
MAX_PLOTTED_BITS = 40  # twice the bits that any character needs, so the run is about to diverge


class _CurveAxis(NamedTuple):
    """An x axis of the learning curves."""

    label: str
    characters: bool  # whether it is proportional to the characters read, else to seconds
    flops: bool  # whether each character counts its training FLOPs


AXES = (
    _CurveAxis("characters read", characters=True, flops=False),
    _CurveAxis("seconds of training", characters=False, flops=False),
    _CurveAxis("training FLOPs", characters=True, flops=True),
)


def render_comparison(result: ComparisonResult) -> bytes:
    """Return the page of a comparison on a text or of existing runs."""
    report = result.report
    rows = cell_rows(report)
    legend = make_legend([row.name for row in rows])
    cells = [_table_row(report, row, result.timing) for row in rows]
    return render_template(
        "comparison.html",
        report=report,
        command=result.timing.command,
        summary=summarize_comparison(report),
        statistics=describe_statistics(report),
        notes=verdict_notes(report),
        matching=_describe_protocol(report),
        heads=list(cells[0]),
        rows=[list(row.values()) for row in cells],
        legend=legend,
        forest=difference_figures(report, legend),
        baselines=baseline_table(report),
        curves=learning_curves(report, result.curves, legend),
        tuning=tuning_section(report.tuning, legend) if report.tuning else None,
        sections=probe_sections(result.probes, rows) if result.probes else [],
        samples=[(row.name, result.samples.get(row.name)) for row in rows],
        provenance=provenance(report),
        settings=[(option_name(name), str(value)) for name, value in report.settings.items()],
    )


def _table_row(report: ComparisonReport, row: EntryRow, timing: TimingReport) -> dict[str, str]:
    times = timing.cells.get(row.name)
    return {
        **format_row(row, report.unit),
        "params": f"{row.parameters:,}",
        "error": format_error(row),
        "s/M": format_number(times.seconds_per_million if times else None),
        "range": format_seed_range(row, report.unit),
    }


def _describe_protocol(report: ComparisonReport) -> str:
    matching, settings = describe_matching(report.matching), report.settings
    if report.differing_settings is not None:
        return f"{matching}{describe_differences(report)}."
    return (
        f"{matching}. All read the same text in the same order, for "
        f"{report.matching.max_steps:,} steps of {settings['batch_size']} × "
        f"{settings['seq_len']} characters; {describe_block(str(settings['block']))}; "
        f"{describe_tuning(report)}."
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
    return [probe_section(name, probe, named) for name, probe in probes.probes.items()]


def difference_figures(report: ComparisonReport, legend: Sequence[LegendEntry]) -> list[Figure]:
    """Draw the forest plot of the cells that have an interval, if there are any."""
    return forest_plot(cell_rows(report), report.statistics.margin, legend)


def learning_curves(
    report: ComparisonReport,
    curves: Mapping[str, Sequence[ValidationCurve]],
    legend: Sequence[LegendEntry],
) -> list[Figure]:
    """Draw validation against characters read, seconds and FLOPs."""
    noun = token_noun(str(report.settings.get("vocab", "")))
    bits = f"bits per {noun}, subsampled validation"
    figures = []
    for number, axis in enumerate(AXES):
        lines = [
            _curve_line(f"{row.name} seed {seed}", row, axis, curve)
            for row in cell_rows(report)
            for seed, curve in zip(row.seeds, curves[row.name], strict=True)
        ]
        # a run that diverged at once has no points
        lines = [line for line in lines if any(y is not None for y in line.y)]
        if lines:
            spec = FigureSpec("", axis.label, bits, log_x=True)
            figures.append(draw_figure(f"learning-{number}", spec, lines, legend))
    return figures


def _curve_line(name: str, row: EntryRow, axis: _CurveAxis, curve: ValidationCurve) -> Series:
    flops = TRAINING_FLOP_FACTOR * row.flops_per_character if axis.flops else 1.0

    def x(point: ValidationPoint) -> float:
        return point.characters * flops if axis.characters else point.seconds

    return Series(
        name,
        row.name,
        [x(point) for point in curve],
        [point.bits if point.bits < MAX_PLOTTED_BITS else None for point in curve],
    )


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
