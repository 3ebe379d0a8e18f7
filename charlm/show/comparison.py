"""A comparison on a text: what is about to be done, and what came of it."""

from pathlib import Path
from textwrap import wrap
from typing import Any

from rich.table import Table
from rich.text import Text

from charlm.config import around, label
from charlm.show import facts, large, result
from charlm.show.rows import baselines, clocked, compared, judged, made, missing
from charlm.show.tables import NARROW, alphabet_of, bare_table, corpus_of, drawn
from charlm.visible import visible


def planned(planned: Any, corpus: Any, footing: Any, where: str, place: Path, tuned: bool) -> None:
    """A comparison before its first run."""
    config = planned[0].config
    rates = "each cell tuned" if tuned else f"--lr {config.learning_rate:g} for every cell"
    facts(
        [
            corpus_of(corpus.text),
            alphabet_of(corpus.alphabet),
            ("runs", f"{len(planned)}, {where}; {rates}"),
            ("layers", f"{config.layers}; {around(config.block)}"),
            ("kept in", str(place)),
        ]
    )
    equal(planned, footing)


def equal(planned: Any, footing: Any) -> None:
    """What is equal, and what each cell has of it and of all else that could be."""
    facts([("equal", footing.told)])
    for one in {one.config.cell: one for one in planned}.values():
        cell = one.config.cell
        told = f"hidden {one.config.hidden} ({footing.residual[cell]:+.2%}): {one.parameters:,} "
        told += f"parameters, {large(one.flops_per_character)} FLOPs, {one.state_size:,} state"
        facts([(label(cell), told)])


def beside(transformer: Any) -> None:
    """The Transformer of a comparison, one run a seed, before the first of them."""
    for one in transformer[:1]:
        told = f"hidden {one.config.hidden}: {one.parameters:,} parameters, beside the cells"
        facts([("transformer", told)])


def _baselines(report: dict[str, Any]) -> Table:
    """What the same text costs otherwise."""
    table = bare_table()
    head, *rows = baselines(report)
    for place, name in enumerate(head):
        table.add_column(name, justify="right" if place == 1 else "left", max_width=NARROW - 22)
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    return table


def table(report: dict[str, Any], times: dict[str, Any]) -> None:
    """The table of a comparison, by what its words were found, and how long it took."""
    drawing = bare_table()
    told = [compared(row, report["unit"]) for row in report["rows"]]
    for head in told[0]:
        drawing.add_column(head, justify="left" if head in ("cell", "verdict") else "right")
    for one in told:
        drawing.add_row(*(Text(visible(cell)) for cell in one.values()))
    drawn(drawing)
    if report["baselines"]:
        drawn(_baselines(report))
    lines = wrap(judged(report), NARROW)
    lines += wrap("; ".join(missing(report)), NARROW)
    of = f"Corpus {report['corpus']['sha256'][:16]}…"
    lines += wrap(f"{made(report)}. {of}", NARROW, break_on_hyphens=False)
    result("\n".join([*lines, *wrap(clocked(times), NARROW)]))
