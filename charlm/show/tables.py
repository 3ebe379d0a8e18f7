"""What is about to be done, and what came of it."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from charlm.config import around, label
from charlm.show import duration, facts, large, result, say
from charlm.show.rows import baselines, clocked, compared, judged, made, missing
from charlm.visible import visible

WIDE = 100  # columns of a table that does not go to a terminal
NARROW = 80  # of the lines under it


def _sources(names: Sequence[str]) -> str:
    shown = " ".join(Path(name).name or name for name in names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _corpus(text: Any) -> tuple[str, str]:
    size, sha256 = sum(text.digest.parts), text.digest.sha256
    return "corpus", f"{_sources(text.sources)}: {size:,} bytes, SHA-256 {sha256[:16]}…"


def _alphabet(alphabet: Any) -> tuple[str, str]:
    escape = " and an escape" if alphabet.escape is not None else ""
    return "alphabet", f"{len(alphabet.symbols):,} {alphabet.kind}{escape}"


def summary(run: Any, config: Any, seconds: float, memory: int, kernel: str, device: str) -> None:
    """A run before its first update; seconds: of one update; memory: in bytes."""
    record = run.record
    characters = config.batch * config.time
    sizes = {name: end - start for name, (start, end) in record.text.splits.items()}
    facts(
        [
            ("cell", f"{label(config.cell)}, {config.layers} × {config.hidden} units"),
            ("block", around(config.block)),
            ("kernel", kernel),
            ("parameters", f"{record.parameters:,}; {record.state_size:,} floats carried"),
            _corpus(record.text),
            _alphabet(run.alphabet),
            ("splits", ", ".join(f"{name} {size:,}" for name, size in sizes.items())),
            (
                "budget",
                f"{record.updates:,} updates of {config.batch} × {config.time}: the text is read "
                f"{record.updates * characters / sizes['train']:.1f} times",
            ),
            (
                "estimate",
                f"{duration(seconds * record.updates)} at {large(characters / seconds)} "
                f"characters/s, {memory / 1e6:,.0f} MB",
            ),
            ("device", f"{device}, {config.threads} thread{'s' if config.threads > 1 else ''}"),
            ("run", str(run.path)),
        ]
    )
    for note in record.text.notes:
        say(f"note: {note}")


def report(report: dict[str, Any]) -> None:
    """What a finished run has come to."""
    if report["score"]:
        score(report["score"], report["split"])
    else:
        bits = report["best_valid_bits"]
        result(f"{bits:.4f} bits/symbol, quick look at update {report['best_update']}")


def score(score: dict[str, Any], what: str) -> None:
    """An exact score, with what one needs to repeat it."""

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"

    unit = "characters" if score["characters"] == score["symbols"] else "bytes"
    result(
        f"{number(score['bits_per_char'])} bits/char  {number(score['bits_per_byte'])} bits/byte  "
        f"{number(score['nats_per_char'])} nats/char\n"
        f"scored     {score['symbols']:,} {unit} of {what}, {score['unseen']:,} unseen\n"
        f"protocol   {score['protocol']}\n"
        f"corpus     {score['corpus_sha256']}\n"
        f"text       {score['text_sha256']}"
    )


def planned(planned: Any, corpus: Any, footing: Any, where: str, place: Path, tuned: bool) -> None:
    """A comparison before its first run."""
    config = planned[0].config
    rates = "each cell tuned" if tuned else f"--lr {config.learning_rate:g} for every cell"
    facts(
        [
            _corpus(corpus.text),
            _alphabet(corpus.alphabet),
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
        facts([("transformer", f"{told}; about 5 times an LSTM's time")])


def bare_table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)


def drawn(table: Table) -> None:
    """As a result: in the width of the terminal, and plain."""
    width = None if sys.stdout.isatty() else WIDE
    console = Console(width=width, color_system=None, highlight=False)
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    result("\n".join(line for line in lines if line))


def _baselines(report: dict[str, Any]) -> Table:
    """What the same text costs otherwise."""
    table = bare_table()
    head, *rows = baselines(report)
    for place, name in enumerate(head):
        table.add_column(name, justify="right" if place == 1 else "left", max_width=NARROW - 22)
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    return table


def comparison(report: dict[str, Any], times: dict[str, Any]) -> None:
    """The table of a comparison, by what its words were found, and how long it took."""
    table = bare_table()
    told = [compared(row, report["unit"]) for row in report["rows"]]
    for head in told[0]:
        table.add_column(head, justify="left" if head in ("cell", "verdict") else "right")
    for one in told:
        table.add_row(*(Text(visible(cell)) for cell in one.values()))
    drawn(table)
    if report["baselines"]:
        drawn(_baselines(report))
    lines = wrap(judged(report), NARROW)
    lines += wrap("; ".join(missing(report)), NARROW)
    of = f"Corpus {report['corpus']['sha256'][:16]}…"
    lines += wrap(f"{made(report)}. {of}", NARROW, break_on_hyphens=False)
    result("\n".join([*lines, *wrap(clocked(times), NARROW)]))


def cells(entries: Sequence[dict[str, Any]], hidden: int) -> None:
    """The zoo, one line a cell."""
    table = bare_table()
    for name in ("cell", "paper", "states", "size", "FLOPs", "scan", "kernels"):
        right = name in ("size", "FLOPs")
        table.add_column(name, justify="right" if right else "left", no_wrap=name == "cell")
    for one in entries:
        first, *_ = one["authors"].replace(",", " ").split()
        table.add_row(
            one["cell"],
            f"{first} {one['year']}",
            " ".join(one["states"]),
            large(one["parameters"]),
            large(one["flops"]),
            "yes" if one["linear"] else "no",
            " ".join(name for name in one["kernels"] if name != "loop"),
        )
    drawn(table)
    result(
        f"size: parameters of {hidden} units that read {hidden} numbers. FLOPs: of their matrix\n"
        "products for one character. scan: linear in its state, so that time can be\n"
        "scanned. Every cell also has the kernel loop. Next: charlm cells show CELL"
    )


def probes(report: dict[str, Any]) -> None:
    """What every probe found, a block each: its figures for each run, or why there are none."""
    for name, one in report["probes"].items():
        result(f"{name}: {one['question']}")
        for run, found in one["found"].items():
            for whose, said in _figures(run, found):
                result(f"  {whose:<14} {said}")


def _figures(run: str, found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "not_measurable" in found:
        yield run, f"not measurable here: {found['not_measurable']}"
        return
    for number in found["numbers"]:
        value, low, high = number["value"], number.get("low"), number.get("high")
        said = "-" if value is None else f"{value:,.4g} {number['unit']}"
        if low is not None and high is not None:
            said += f" ({low:,.4g} to {high:,.4g})"
        if number["note"]:
            said = number["note"] if value is None else f"{said}; {number['note']}"
        yield number["run"] or run, f"{number['name']}: {said}"
