"""The page of a comparison on a text."""

from collections.abc import Mapping, Sequence

from charlm.comparison.report import ValidationCurve
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
from charlm.reporting.html import page, tuning
from charlm.reporting.html.forest import forest_plot
from charlm.reporting.html.probes import ProbeSection, probe_section
from charlm.reporting.wording import (
    baseline_rows,
    describe_differences,
    describe_statistics,
    describe_tuning,
    format_row,
    power_notes,
)
from charlm.results.comparison import Report

TRAINING_FLOP_FACTOR = 3  # a backward pass costs two forward ones
MAX_PLOTTED_BITS = 40  # bits, twice what any character needs: a run that is about to diverge


def render(
    report: Report,
    times: Report,
    curves: Mapping[str, Sequence[ValidationCurve]],
    samples: Mapping[str, str | None],
    probed: Report | None = None,
) -> bytes:
    """times: of timing.json; curves: cell -> one a seed; samples: cell -> what it wrote, None where
    it diverged; probed: what the probes found in its runs."""
    rows, unit = report["rows"], report["unit"]
    looks = make_legend([row["cell"] for row in rows])
    told = [
        {
            **format_row(row, unit),
            "params": f"{row['parameters']:,}",
            "off by": f"{row['residual']:+.2%}",
            "s/M": format_number(times["cells"][row["cell"]]["seconds_per_million"]),
            "spread": format_range(row, unit),
        }
        for row in rows
    ]
    return page.render_template(
        "comparison.html",
        report=report,
        command=times["command"],
        answer=summary_sentence(report),
        judged=describe_statistics(report),
        missing=power_notes(report),
        footing=describe_matching(report),
        heads=list(told[0]),
        rows=[list(one.values()) for one in told],
        looks=looks,
        forest=difference_figures(report, looks),
        baselines=baseline_rows(report),
        drawn=learning_curves(report, curves, looks),
        tuned=tuning.tuning_section(report["tuning"], looks) if report["tuning"] else None,
        sections=probe_sections(probed, rows) if probed else [],
        samples=[(row["cell"], samples[row["cell"]]) for row in rows],
        protocol=provenance(report),
        settings=[(option_name(name), str(value)) for name, value in report["settings"].items()],
    )


WORDS = ("better", "worse", "equivalent", "inconclusive")


def summary_sentence(report: Report) -> str:
    """In a few sentences: their words are the verdicts', and the order of the rows says nothing."""
    rows, unit, by = report["rows"], report["unit"], report["judged"]
    (base,) = (row for row in rows if row["cell"] == by["baseline"])
    seeds = len(base["seeds"])
    lost = "".join(
        f" {row['cell']}: {row['diverged']} of {seeds} seeds diverged."
        for row in rows
        if row["diverged"]
    )
    if rows[0][unit]["mean"] is None:
        return f"No cell came to the end with all of its seeds.{lost}"
    said = f"Beside {by['baseline']}"
    if not base["diverged"]:
        said += f" ({base[unit]['mean']:.4f} {_unit(unit)}, "
        said += f"the mean of {seeds} seeds)" if seeds > 1 else "with one seed)"
    told = []
    for word in WORDS:
        cells = [row["cell"] for row in rows if row["verdict"]["word"] == word]
        within = f" within {by['margin']:g} bits" if word == "equivalent" else ""
        told += [f"{word}{within}: {', '.join(cells)}"] if cells else []
    return (
        f"{said}, {'; '.join(told) or 'there is no other cell'}.{lost}{_better_baselines(report)}"
    )


def _better_baselines(report: Report) -> str:
    """What predicts the text better than each of the cells does, and why it may."""
    unit, best = report["unit"], report["rows"][0][report["unit"]]["mean"]
    lower = [one for one in report["baselines"] if one[unit] is not None and one[unit] < best]
    if not lower:
        return ""
    named = ", ".join(f"{one['name']} ({one[unit]:.4f})" for one in lower)
    learning = [one["name"] for one in lower if one["protocol"].startswith("adaptive")]
    why = "adaptive compressors, they go on learning from test as they read it, and a run does not"
    said = f" Fewer bits than every cell: {named}."
    return f"{said} ({', '.join(learning)}: {why}.)" if learning else said


def _unit(unit: str) -> str:
    return unit.replace("_", " ").replace("char", "character")


def format_range(row: Report, unit: str) -> str:
    """The lowest and the highest seed."""
    low, high = row[unit]["low"], row[unit]["high"]
    return f"{row['diverged']} diverged" if low is None else f"{low:.3f}–{high:.3f}"


def describe_matching(report: Report) -> str:
    """What was equal, and whether each cell was tuned."""
    equal, settings = report["equal"], report["settings"]
    if report["differ"] is not None:
        return f"{equal['told']}{describe_differences(report)}."
    return (
        f"{equal['told']}, read the same text in the same order, and get "
        f"{equal['max_steps']:,} updates of {settings['batch_size']} × {settings['seq_len']} "
        f"characters; {describe_block(settings['block'])}; {describe_tuning(report)}."
    )


def probe_sections(probed: Report, rows: Sequence[Report]) -> list[ProbeSection]:
    """What the probes found, the runs in the order of the rows and called like them: so that
    colours are the same."""
    row_of = {name: row["cell"] for row in rows for name in row["runs"]}
    told = {run["name"]: {**run, "cell": row_of[run["name"]]} for run in probed["runs"]}
    runs = [told[name] for name in row_of if name in told]
    return [probe_section(name, one, runs) for name, one in probed["probes"].items()]


def difference_figures(report: Report, looks: Sequence[LegendEntry]) -> list[Figure]:
    """A forest plot of the cells that have an interval, if there are any."""
    rows = [row for row in report["rows"] if row["verdict"]["ci_low"] is not None]
    return [forest_plot(rows, report["judged"]["margin"], looks)] if rows else []


def learning_curves(
    report: Report, curves: Mapping[str, Sequence[ValidationCurve]], looks: Sequence[LegendEntry]
) -> list[Figure]:
    """Validation against what was read, against seconds, and against FLOPs."""
    symbol = "byte" if report["settings"]["vocab"] == "bytes" else "character"
    bits = f"bits per {symbol}, quick validation"
    drawn = []
    for number, axis in enumerate(("characters read", "seconds of training", "training FLOPs")):
        lines = []
        for row in report["rows"]:
            cost = (1.0, None, TRAINING_FLOP_FACTOR * row["flops_per_character"])[number]
            for seed, curve in zip(row["seeds"], curves[row["cell"]], strict=True):
                line = Series(
                    f"{row['cell']} seed {seed}",
                    row["cell"],
                    [look.characters * cost if cost else look.seconds for look in curve],
                    [look.bits if look.bits < MAX_PLOTTED_BITS else None for look in curve],
                )
                # a run that diverged at once has none
                lines += [line] if any(y is not None for y in line.y) else []
        if lines:
            drawn.append(
                draw_figure(
                    f"learning-{number}", FigureSpec("", axis, bits, log_x=True), lines, looks
                )
            )
    return drawn


def provenance(report: Report) -> list[tuple[str, str]]:
    """By what the figures can be had again, and told apart from others."""
    corpus, made_by = report["corpus"], report["made_by"]
    splits = ", ".join(f"{name} {end - start:,}" for name, (start, end) in corpus["splits"].items())
    return [
        ("text", ", ".join(corpus["sources"])),
        ("SHA-256", corpus["sha256"]),
        ("splits", splits),
        (f"SHA-256 of {corpus['scored']}", corpus["scored_sha256"] or "–"),
        ("protocol", report["protocol"]),
        ("made by", ", ".join(f"{name} {what}" for name, what in made_by.items())),
    ]
