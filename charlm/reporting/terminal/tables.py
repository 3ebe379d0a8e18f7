"""What is about to be done, and what came of it."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from charlm.cells.names import cell_label
from charlm.config import describe_block
from charlm.console import print_message, print_result
from charlm.reporting.formatting import format_count, format_duration


def print_fields(pairs: Sequence[tuple[str, str]]) -> None:
    """Names and what they are, one a line, on stderr."""
    for name, text in pairs:
        print_message(f"{name:<11} {text}")


WIDE = 100  # columns of a table that does not go to a terminal
NARROW = 80  # of the lines under it


def _sources(names: Sequence[str]) -> str:
    shown = " ".join(Path(name).name or name for name in names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def corpus_field(text: Any) -> tuple[str, str]:
    size, sha256 = sum(text.digest.parts), text.digest.sha256
    return "corpus", f"{_sources(text.sources)}: {size:,} bytes, SHA-256 {sha256[:16]}…"


def vocabulary_field(alphabet: Any) -> tuple[str, str]:
    escape = " and an escape" if alphabet.unk_id is not None else ""
    return "alphabet", f"{len(alphabet.tokens):,} {alphabet.kind}{escape}"


def print_run_summary(
    run: Any, config: Any, seconds: float, memory: int, kernel: str, device: str
) -> None:
    """A run before its first update; seconds: of one update; memory: in bytes."""
    record = run.record
    characters = config.batch_size * config.seq_len
    sizes = {name: end - start for name, (start, end) in record.text.splits.items()}
    print_fields(
        [
            (
                "cell",
                f"{cell_label(config.cell)}, {config.num_layers} × {config.hidden_size} units",
            ),
            ("block", describe_block(config.block)),
            ("kernel", kernel),
            ("parameters", f"{record.parameters:,}; {record.state_size:,} floats carried"),
            corpus_field(record.text),
            vocabulary_field(run.vocabulary),
            ("splits", ", ".join(f"{name} {size:,}" for name, size in sizes.items())),
            (
                "budget",
                f"{record.max_steps:,} updates of {config.batch_size} × {config.seq_len}: the text is read "
                f"{record.max_steps * characters / sizes['train']:.1f} times",
            ),
            (
                "estimate",
                f"{format_duration(seconds * record.max_steps)} at {format_count(characters / seconds)} "
                f"characters/s, {memory / 1e6:,.0f} MB",
            ),
            ("device", f"{device}, {config.threads} thread{'s' if config.threads > 1 else ''}"),
            ("run", str(run.path)),
        ]
    )
    for note in record.text.notes:
        print_message(f"note: {note}")


def print_run_report(report: dict[str, Any]) -> None:
    """What a finished run has come to."""
    if report["score"]:
        print_score(report["score"], report["scored_split"])
    else:
        bits = report["best_valid_bits"]
        print_result(f"{bits:.4f} bits/symbol, quick look at update {report['best_step']}")


def print_score(score: dict[str, Any], what: str) -> None:
    """An exact score, with what one needs to repeat it."""

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"

    unit = "characters" if score["characters"] == score["symbols"] else "bytes"
    print_result(
        f"{number(score['bits_per_char'])} bits/char  {number(score['bits_per_byte'])} bits/byte  "
        f"{number(score['nats_per_char'])} nats/char\n"
        f"scored     {score['symbols']:,} {unit} of {what}, {score['unseen']:,} unseen\n"
        f"protocol   {score['protocol']}\n"
        f"corpus     {score['corpus_sha256']}\n"
        f"text       {score['text_sha256']}"
    )


def make_table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)


def print_table(table: Table) -> None:
    """As a result: in the width of the terminal, and plain."""
    width = None if sys.stdout.isatty() else WIDE
    console = Console(width=width, color_system=None, highlight=False)
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    print_result("\n".join(line for line in lines if line))


def print_cells(entries: Sequence[dict[str, Any]], hidden: int) -> None:
    """The zoo, one line a cell."""
    table = make_table()
    for name in ("cell", "paper", "states", "size", "FLOPs", "scan", "kernels"):
        right = name in ("size", "FLOPs")
        table.add_column(name, justify="right" if right else "left", no_wrap=name == "cell")
    for one in entries:
        first, *_ = one["authors"].replace(",", " ").split()
        table.add_row(
            one["cell"],
            f"{first} {one['year']}",
            " ".join(one["states"]),
            format_count(one["parameters"]),
            format_count(one["flops"]),
            "yes" if one["linear"] else "no",
            " ".join(name for name in one["kernels"] if name != "loop"),
        )
    print_table(table)
    print_result(
        f"size: parameters of {hidden} units that read {hidden} numbers. FLOPs: of their matrix\n"
        "products for one character. scan: linear in its state, so that time can be\n"
        "scanned. Every cell also has the kernel loop. Next: charlm cells show CELL"
    )


def print_probes(report: dict[str, Any]) -> None:
    """What every probe found, a block each: its figures for each run, or why there are none."""
    for name, one in report["probes"].items():
        print_result(f"{name}: {one['question']}")
        for run, found in one["found"].items():
            for whose, said in _figures(run, found):
                print_result(f"  {whose:<14} {said}")


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
