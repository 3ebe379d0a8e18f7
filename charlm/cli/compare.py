"""charlm compare-cells"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from charlm import show
from charlm.cli.given import do, from_anywhere, load_own
from charlm.cli.root import app
from charlm.config import checked
from charlm.errors import BadConfig
from charlm.flags import CORPUS, JSON, LOG_EVERY, settings
from charlm.signals import check


@app.command(name="compare-cells")
@settings("cell", "hidden", "seed", "minutes", "final", "threads")
def compare_cells(
    given: dict[str, Any],
    corpus: CORPUS = None,
    cells: Annotated[
        str, typer.Option(help="Which cells, with commas between; also FILE.py:CLASS.")
    ] = "rnn,gru,lstm",
    seeds: Annotated[int, typer.Option(help="Runs of each cell.", min=1, max=1000)] = 3,
    parameters: Annotated[
        int, typer.Option(help="Parameters of every model.", min=1, max=10**10)
    ] = 150_000,
    out: Annotated[Path, typer.Option(help="Where the comparison is kept.")] = Path("comparison"),
    jobs: Annotated[
        int, typer.Option(help="Runs side by side, one thread each; 0: one a core.", min=0)
    ] = 0,
    log_every: LOG_EVERY = 10.0,
    json: JSON = False,
) -> None:
    """Compare recurrent cells on one text: equal parameters, data order and updates.

    charlm compare-cells

    charlm compare-cells book.txt --cells gru,lstm --seeds 5 --updates 5000 --out mine

    The same command again goes on where it was stopped; more cells or seeds reuse what is done.
    """
    given = from_anywhere(given)
    config = checked(given)
    names = list(dict.fromkeys(name.strip() for name in cells.split(",") if name.strip()))
    if not names:
        raise BadConfig("--cells: name at least one, such as --cells rnn,gru,lstm")
    for name in names:
        checked({**given, "cell": name})
    from charlm import compare
    from charlm.corpus import load
    from charlm.machine import cores, prepare
    from charlm.run import refuse_existing, writer
    from charlm.show import progress, tables

    check()
    load_own(names)
    device, _ = prepare(config.device, 1)
    if not compare.is_comparison(out):
        refuse_existing(out)
    with writer(out):
        compare.begin(out)
        texts = compare.kept_standard_input(corpus or ["python-docs"], out)
        with progress.reading("reading the text", log_every) as tick:
            text = load(config, texts, tick)
        planned = compare.plan(
            given, names, seeds, parameters, text.text.digest, text.alphabet.size, out
        )
        side_by_side = jobs or (cores() if device == "cpu" else 1)
        tables.planned(planned, text, parameters, f"{side_by_side} side by side on {device}", out)
        do([one.job(texts) for one in planned], out, side_by_side, log_every)
        words = ["charlm", *sys.argv[1:]]
        report = compare.conclude(planned, parameters, out, words, show.say)
    if json:
        show.result_json(report)
    else:
        tables.comparison(report)
    show.say(f"in {out}: report.html, report.json and every run")
