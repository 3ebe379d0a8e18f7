"""charlm inspect"""

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from charlm import console
from charlm.cli.app import app
from charlm.cli.options import CELL, CHECKPOINT, JSON, RUN
from charlm.errors import ConfigError
from charlm.execution.signals import raise_pending
from charlm.runs.restore import load_model

MAX_UNITS = 8  # units of a page


@app.command()
def inspect(
    run: RUN,
    text: Annotated[
        str | None,
        typer.Option(
            help="What it reads: a file, or the text itself. Else the beginning of the test split."
        ),
    ] = None,
    units: Annotated[
        str,
        typer.Option(
            metavar="LAYER:UNIT,…",
            help="Which are shown, counted from 1. Else those that track something.",
        ),
    ] = "",
    out: Annotated[
        Path, typer.Option(help="Where the page is written; an older one is replaced.")
    ] = Path("inspect.html"),
    corpus: Annotated[
        list[str] | None, typer.Option(help="Where the run's corpus is now, if it was moved.")
    ] = None,
    checkpoint: CHECKPOINT = "best",
    cell: CELL = "",
    json: JSON = False,
) -> None:
    """Look inside: a page with each character's bits, and what units and their gates did there.

    charlm inspect runs/code

    charlm inspect runs/code --text "def add(a, b):" --units 1:7,2:31 --out add.html
    """
    asked = parse_units(units)
    import msgspec

    from charlm.data.corpus import reload_corpus
    from charlm.data.encoded_text import encode
    from charlm.data.sources import resolve_sources
    from charlm.execution.device import select_device
    from charlm.inspection.inspect_run import DEFAULT_LENGTH, MAX_LENGTH, inspect_run
    from charlm.inspection.text_span import span_from_corpus, span_from_string
    from charlm.reporting.html import inspect as page
    from charlm.reporting.terminal import progress
    from charlm.runs.run import Run
    from charlm.storage import files

    raise_pending()
    opened = Run(run)
    opened.load_custom_cell(cell)
    record, alphabet = opened.record, opened.vocabulary
    select_device("cpu", 1)
    weights, model = load_model(opened, checkpoint, "loop", "cpu", 1)
    with progress.progress_counter("reading the text", 10.0) as tick:
        known = reload_corpus(record.config, record.text, corpus or [])
        if text is None:
            passage = span_from_corpus(
                known.encoding, record.text.splits["test"], DEFAULT_LENGTH, alphabet
            )
            where = "the beginning of the test split"
        elif os.path.exists(text):
            encoding = encode([resolve_sources([text], record.config.glob)], alphabet, tick)
            passage = span_from_corpus(encoding, (0, encoding.size), MAX_LENGTH, alphabet)
            where = text if encoding.size <= MAX_LENGTH else f"the beginning of {text}"
        else:
            passage = span_from_string(text, MAX_LENGTH, alphabet)
            whole = len(passage.ids) == len(alphabet.encode(text))
            where = "a text of your own" + ("" if whole else ", its beginning")
    with progress.progress_counter("looking inside", 10.0) as tick:
        found = inspect_run(opened, weights.sha256, model, known, passage, where, asked, tick)
    told = msgspec.to_builtins(found)
    if json:
        console.print_json(told)
        return
    files.write_atomic(out, page.render(told))
    bits = sum(found.bits) / len(found.bits)
    each = found.kind.removesuffix("s")
    console.print_result(f"{bits:.4f} bits/{each} on {len(found.bits):,} {found.kind}: {where}")
    for one in found.survey.trackers if found.survey else []:
        place = f"layer {one.layer}, unit {one.unit}"
        console.print_result(
            f"{one.feature:<18} {place:<20} correlation {one.heldout_correlation:+.2f}"
        )
    console.print_result(f"page {out}")


def parse_units(units: str) -> list[tuple[int, int]]:
    """2:31,1:7 -> layers and units, each once."""
    words = [word.strip() for word in units.split(",")] if units else []
    if wrong := [word for word in words if not re.fullmatch(r"[0-9]{1,9}:[0-9]{1,9}", word)]:
        raise ConfigError(f"--units {wrong[0]}: LAYER:UNIT, both counted from 1, such as 1:7,2:31")
    if len(words) > MAX_UNITS:
        raise ConfigError(f"--units: a page shows {MAX_UNITS} at most, and these are {len(words)}")
    pairs = (word.split(":") for word in words)
    return list(dict.fromkeys((int(layer), int(unit)) for layer, unit in pairs))
