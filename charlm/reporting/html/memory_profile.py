"""Memory profile of a page of probes: a row per run, and a figure of all."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from charlm.reporting.figures import (
    COLOR_PLACEHOLDER,
    FOREGROUND_PLACEHOLDER,
    Figure,
    FigureSpec,
    make_legend,
)
from charlm.reporting.wording.memory_profile import (
    Profile,
    comparison_profile,
    describe_aspects,
    describe_profiled_tasks,
    detail_table,
    explain_profile,
    measured_aspects,
    memory_profile,
    profile_table,
    share_of,
)
from charlm.reporting.wording.text import token_noun
from charlm.results.comparison import ComparisonReport
from charlm.results.probes import ProbesReport

LEAST, MOST = -10.0, 110.0  # percent at the ends of the axis
SPREAD = 0.7  # of the distance of two aspects that their runs take
MAX_LARGE_POINTS = 24  # runs; the points of more are small


class ProfileSection(NamedTuple):
    """The memory profile as a part of a page."""

    explanation: str
    heads: list[str]  # of a row per run
    rows: list[list[str]]
    figure: Figure
    details: tuple[list[str], list[list[str]]]  # heads and rows, a row per run and aspect
    aspects: list[tuple[str, str]]  # name and meaning


def profile_section(report: ProbesReport) -> ProfileSection | None:
    """Return the memory profile of the runs; None if no part of it was measured."""
    profile = memory_profile(report)
    if not profile:
        return None
    cells = {run.name: run.cell for run in report.runs}
    noun = token_noun(report.text.vocabulary_kind)
    return _section(explain_profile(profile), profile, "run", cells, noun)


def comparison_section(report: ComparisonReport) -> ProfileSection | None:
    """Return the memory profile of the cells; None if no part of it was measured."""
    profile = comparison_profile(report)
    if not profile:
        return None
    noun = token_noun(str(report.settings.get("vocab", "")))
    explanation = " ".join(
        [explain_profile(profile), *describe_profiled_tasks(report.profiled_tasks)]
    )
    return _section(explanation, profile, "cell", _own_names(report), noun)


def comparison_figure(report: ComparisonReport) -> Figure | None:
    """Return the figure of the memory profile of the cells; None if no part was measured."""
    profile = comparison_profile(report)
    return profile_figure(profile, "cell", _own_names(report)) if profile else None


def _own_names(report: ComparisonReport) -> dict[str, str]:
    """Return the name of each cell for itself, so that colors are those of the page."""
    return {row.name: row.name for row in report.cells}


def _section(
    explanation: str, profile: Profile, head: str, cells: Mapping[str, str], noun: str
) -> ProfileSection:
    return ProfileSection(
        explanation,
        *profile_table(profile, head),
        profile_figure(profile, head, cells),
        detail_table(profile, head),
        describe_aspects(profile, noun),
    )


def profile_figure(profile: Profile, head: str, cells: Mapping[str, str]) -> Figure:
    """Draw the share of each aspect and run, with its interval.

    Args:
        profile: What the runs, or cells, remember.
        head: Head of their names in the table.
        cells: Cell of each of them, which gives the color.
    """
    aspects = measured_aspects(profile)
    legend = [entry._replace(dash="") for entry in make_legend(list(cells.values()))]
    colors = {entry.group: f"{COLOR_PLACEHOLDER}{entry.color:02x}" for entry in legend}

    def paint(axes: Axes) -> None:
        for end in (0, 100):
            axes.axvline(end, color=FOREGROUND_PLACEHOLDER, linewidth=1, linestyle=":")
        for number, (run, entries) in enumerate(profile.items()):
            style: dict[str, Any] = {"color": colors[cells[run]], "linewidth": 1.5}
            offset = SPREAD * ((number + 0.5) / len(profile) - 0.5)
            size = 5 if len(profile) <= MAX_LARGE_POINTS else 3
            for height, aspect in enumerate(aspects):
                share = share_of(entries[aspect]) if aspect in entries else None
                if share is None:
                    continue
                ends = [_percent(end) for end in (share.low, share.high) if end is not None]
                axes.plot(ends, [height + offset] * len(ends), **style)
                middle = [_percent(share.value)]
                axes.plot(middle, [height + offset], marker="o", markersize=size, **style)
        axes.set_xlim(LEAST, MOST)
        axes.set_ylim(len(aspects) - 0.5, -0.5)
        axes.set_yticks(range(len(aspects)), aspects)
        axes.set_xticks([0, 25, 50, 75, 100])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)

    spec = FigureSpec(
        "",
        "0: chance, 100: ceiling; a point beyond the axis stands at its end",
        "share of the way from chance to ceiling, %, with 95 % confidence interval",
    )
    heads, rows = profile_table(profile, head)
    own = legend if len(legend) > 1 else ()
    return Figure("memory-profile", spec, paint, heads, [tuple(row) for row in rows], own)


def _percent(share: float) -> float:
    """Return a share in percent, within the axis."""
    return min(MOST, max(LEAST, 100 * share))
