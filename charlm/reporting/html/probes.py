"""Page of probe results: every probe is drawn from its typed result, whatever it measures."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from charlm.reporting.figures import Figure, FigureSpec, Reference, Series, draw_figure, make_legend
from charlm.reporting.formatting import format_number
from charlm.reporting.html.memory_profile import profile_section
from charlm.reporting.html.numbers import Row, group_runs, scalar_table, scalars_by_run
from charlm.reporting.html.page import render_template
from charlm.reporting.wording.probes import describe_memory, describe_note, describe_reason
from charlm.reporting.wording.text import token_noun
from charlm.results.probes import (
    Curve,
    Measured,
    NotApplicable,
    Outcome,
    ProbedRun,
    ProbeResult,
    ProbesReport,
    ProbeSummary,
)

ANSWER = "context-replacement"  # probe whose figure is at the top of the page


class ProbeSection(NamedTuple):
    """A probe's part of a page."""

    name: str
    question: str
    chance: str
    documentation: list[tuple[str, str]]
    figures: list[Figure]
    numbers: tuple[Row, list[Row]]  # heads and rows: a column for each cell
    by_run: tuple[Row, list[Row]] | None  # the same for each run, where cells have more than one
    not_applicable: list[tuple[str, str]]  # runs and the reason
    notes: list[tuple[str, str]]  # cells, "" for all of them, and the note
    is_answer: bool = False  # whether its first figure is at the top of the page


def render_probes(report: ProbesReport) -> bytes:
    """Return the page of `charlm probe`."""
    runs, text = report.runs, report.text
    noun = token_noun(text.vocabulary_kind) + "s"
    return render_template(
        "probes.html",
        report=report,
        runs=runs,
        noun=noun,
        answer=[sentence for _, sentence in describe_memory(report)],
        figures=answer_figures(report),
        profile=profile_section(report),
        sections=[
            _without_answer(probe_section(name, probe, runs, token_noun(text.vocabulary_kind)))
            for name, probe in report.probes.items()
        ],
        heads=["run", "cell", "layers", "units", "parameters", "state", "bits/char", "weights"],
        rows=[
            [
                run.name,
                run.cell,
                str(run.num_layers),
                str(run.hidden_size),
                format_number(run.parameters),
                format_number(run.state_size),
                "–" if run.bits_per_char is None else f"{run.bits_per_char:.4f}",
                run.weights_sha256[:16] + "…",
            ]
            for run in runs
        ],
        text=[
            ("text", f"{text.characters:,} {noun} of {text.split}"),
            ("SHA-256 of the text", text.text_sha256),
            ("corpus", text.corpus_sha256),
        ],
    )


def answer_figures(report: ProbesReport) -> list[Figure]:
    """Return the figure at the top: what is lost if all further back is other text."""
    probe = report.probes.get(ANSWER)
    if probe is None:
        return []
    results = measured_results(probe)
    return probe_figures("answer", results, {run.name: run.cell for run in report.runs})[:1]


def _without_answer(section: ProbeSection) -> ProbeSection:
    """Return a part of the page without the figure that is at its top."""
    if section.name != ANSWER or not section.figures:
        return section
    return section._replace(figures=section.figures[1:], is_answer=True)


def measured_results(probe: ProbeSummary) -> dict[str, ProbeResult]:
    """Return the results by name of the run, of runs that the probe applies to."""
    return {
        run: outcome.result
        for run, outcome in probe.outcomes.items()
        if isinstance(outcome, Measured)
    }


def probe_section(
    name: str, probe: ProbeSummary, runs: Sequence[ProbedRun], noun: str
) -> ProbeSection:
    """Return a probe's part of a page.

    Args:
        name: Name of the probe.
        probe: Its outcomes.
        runs: Colors are those of their cells, in this order.
        noun: What a token is called.
    """
    results = measured_results(probe)
    cells = {run.name: run.cell for run in runs}
    by_run = scalars_by_run(results)
    groups = group_runs(by_run, cells)
    documentation = probe.documentation
    return ProbeSection(
        name=name,
        question=documentation.question,
        chance=documentation.chance,
        documentation=[
            ("protocol", documentation.protocol),
            ("unit", documentation.unit),
            ("source", documentation.source),
            ("time", f"{sum(probe.seconds.values()):.1f} seconds of a processor"),
        ],
        figures=probe_figures(name, results, cells),
        numbers=scalar_table(by_run, groups),
        by_run=(
            scalar_table(by_run, {run: [run] for run in by_run})
            if len(groups) < len(by_run)
            else None
        ),
        not_applicable=not_applicable_notes(probe.outcomes, noun),
        notes=grouped_notes(group_runs(results, cells), results, noun),
    )


def not_applicable_notes(outcomes: Mapping[str, Outcome], noun: str) -> list[tuple[str, str]]:
    """Return runs and the reason that they share; "" for the runs if it holds for all."""
    runs_by_reason: dict[str, list[str]] = {}
    for run, outcome in outcomes.items():
        if isinstance(outcome, NotApplicable):
            runs_by_reason.setdefault(describe_reason(outcome.reason, noun), []).append(run)
    return [
        ("" if len(runs) == len(outcomes) else ", ".join(runs), reason)
        for reason, runs in runs_by_reason.items()
    ]


def grouped_notes(
    groups: Mapping[str, Sequence[str]], results: Mapping[str, ProbeResult], noun: str
) -> list[tuple[str, str]]:
    """Return each note once, with the cells that it is about; "" if it is about all."""
    cells_by_note: dict[str, list[str]] = {}
    for cell, runs in groups.items():
        for note in dict.fromkeys(note for run in runs for note in results[run].notes):
            cells_by_note.setdefault(describe_note(note, noun), []).append(cell)
    return [
        ("" if len(cells) == len(groups) else ", ".join(cells), note)
        for note, cells in cells_by_note.items()
    ]


def probe_figures(
    name: str, results: Mapping[str, ProbeResult], cells: Mapping[str, str]
) -> list[Figure]:
    """Draw all curves of a probe.

    Curves of one run with the same axes are in one figure. With several runs each curve has a
    figure, in which the runs of a cell share a color.
    """
    curves_by_panel: dict[tuple[str, str, str], list[tuple[str, Curve]]] = {}
    axes: dict[tuple[str, str, str], tuple[bool, bool, list[Reference]]] = {}
    for run, result in results.items():
        for part in (result, *result.panels):
            panel = part.title, part.x, part.y
            axes.setdefault(panel, (part.log_x, part.log_y, reference_lines(part)))
            curves_by_panel.setdefault(panel, []).extend((run, curve) for curve in part.curves)
    figures: list[Figure] = []
    for (title, x, y), curves in curves_by_panel.items():
        split = split_by_curve(curves, has_several_runs=len(results) > 1)
        for curve_name, lines in split.items():
            full_title = ": ".join(part for part in (title, curve_name) if part)
            log_x, log_y, references = axes[title, x, y]
            spec = FigureSpec(full_title, x, y, log_x, log_y, references)
            figures += make_figure(f"{name}-{len(figures)}", spec, lines, cells)
    return figures


def reference_lines(result: ProbeResult) -> list[Reference]:
    """Return the lines of a model without memory and of one that holds all, if it has them."""
    lines = ("chance", result.chance), ("ceiling", result.ceiling)
    return [Reference(name, value) for name, value in lines if value is not None]


def split_by_curve(
    curves: Sequence[tuple[str, Curve]], has_several_runs: bool
) -> dict[str, list[tuple[str, Curve]]]:
    """Return the lines of each figure, by its title; a line is a name and a curve.

    A curve that all runs share, such as that of a baseline, is in each figure.
    """
    if not has_several_runs:
        return {"": [(curve.name or run, curve) for run, curve in curves]}
    by_name: dict[str, list[tuple[str, Curve]]] = {}
    for run, curve in curves:
        by_name.setdefault(curve.name, []).append((run, curve))
    shared = {
        name: lines[0][1]
        for name, lines in by_name.items()
        if name and len(lines) > 1 and all(curve == lines[0][1] for _, curve in lines)
    }
    own = {name: lines for name, lines in by_name.items() if name not in shared}
    return {name: [*lines, *shared.items()] for name, lines in own.items()} or by_name


def make_figure(
    name: str,
    spec: FigureSpec,
    curves: Sequence[tuple[str, Curve]],
    cells: Mapping[str, str],
) -> list[Figure]:
    """Draw curves that have a value, if there are any."""
    lines = [
        Series(
            label,
            cells.get(label, label),
            curve.x,
            curve.y,
            error_band(curve),
            value_labels(curve),
        )
        for label, curve in curves
        if any(y is not None for y in curve.y)
    ]
    if not lines:
        return []
    legend = make_legend([*cells.values(), *(line.group for line in lines)])
    return [draw_figure(name, spec, lines, legend)]


def error_band(curve: Curve) -> tuple[list[float | None], list[float | None]] | None:
    """Return the curve minus and plus one standard error."""
    if curve.error is None:
        return None
    low, high = (
        [
            None if y is None or error is None else y + sign * error
            for y, error in zip(curve.y, curve.error, strict=True)
        ]
        for sign in (-1, 1)
    )
    return low, high


def value_labels(curve: Curve) -> list[str]:
    """Return each point with its standard error and number of events, as far as it has them."""
    labels = [format_number(y) for y in curve.y]
    if curve.error is not None:
        labels = [
            label if error is None else f"{label} ± {format_number(error)}"
            for label, error in zip(labels, curve.error, strict=True)
        ]
    if curve.count is not None:
        labels = [f"{label} ({count:,})" for label, count in zip(labels, curve.count, strict=True)]
    return labels
