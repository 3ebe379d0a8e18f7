"""charlm inspect"""

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from charlm import show
from charlm.cli.given import with_weights
from charlm.cli.root import app
from charlm.errors import BadConfig
from charlm.flags import CELL, CHECKPOINT, JSON, RUN
from charlm.signals import check

MOST = 8  # units of a page


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
    asked = places(units)
    import msgspec

    from charlm import durable
    from charlm.corpus import reload
    from charlm.encoding import encoded
    from charlm.inspection import BEGINNING, LONGEST, inspected
    from charlm.machine import prepare
    from charlm.pages import inspect as page
    from charlm.passage import given, taken
    from charlm.run import Run
    from charlm.show import progress
    from charlm.source import sources

    check()
    opened = Run(run)
    opened.admit(cell)
    record, alphabet = opened.record, opened.alphabet
    prepare("cpu", 1)
    weights, model = with_weights(opened, checkpoint, "loop", "cpu", 1)
    with progress.reading("reading the text", 10.0) as tick:
        known = reload(record.config, record.text, corpus or [], tick)
        if text is None:
            passage = taken(known.encoding, record.text.splits["test"], BEGINNING, alphabet)
            where = "the beginning of the test split"
        elif os.path.exists(text):
            encoding = encoded([sources([text], record.config.glob)], alphabet, tick)
            passage = taken(encoding, (0, encoding.size), LONGEST, alphabet)
            where = text if encoding.size <= LONGEST else f"the beginning of {text}"
        else:
            passage = given(text, LONGEST, alphabet)
            whole = len(passage.ids) == len(alphabet.encode(text))
            where = "a text of your own" + ("" if whole else ", its beginning")
    with progress.reading("looking inside", 10.0) as tick:
        found = inspected(opened, weights.sha256, model, known, passage, where, asked, tick)
    told = msgspec.to_builtins(found)
    if json:
        show.result_json(told)
        return
    durable.write_file(out, page.render(told))
    bits = sum(found.bits) / len(found.bits)
    each = found.kind.removesuffix("s")
    show.result(f"{bits:.4f} bits/{each} on {len(found.bits):,} {found.kind}: {where}")
    for one in found.survey.trackers if found.survey else []:
        place = f"layer {one.layer}, unit {one.unit}"
        show.result(f"{one.landmark:<18} {place:<20} correlation {one.score:+.2f}")
    show.result(f"page {out}")


def places(units: str) -> list[tuple[int, int]]:
    """2:31,1:7 -> layers and units, each once."""
    words = [word.strip() for word in units.split(",")] if units else []
    if wrong := [word for word in words if not re.fullmatch(r"[0-9]{1,9}:[0-9]{1,9}", word)]:
        raise BadConfig(f"--units {wrong[0]}: LAYER:UNIT, both counted from 1, such as 1:7,2:31")
    if len(words) > MOST:
        raise BadConfig(f"--units: a page shows {MOST} at most, and these are {len(words)}")
    pairs = (word.split(":") for word in words)
    return list(dict.fromkeys((int(layer), int(unit)) for layer, unit in pairs))
