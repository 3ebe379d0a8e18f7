"""charlm eval"""

from typing import Annotated

import typer

from charlm import show
from charlm.cli.given import with_weights
from charlm.cli.root import app
from charlm.errors import BadConfig
from charlm.flags import CELL, CHECKPOINT, DEVICE, JSON, KERNEL, RUN, THREADS
from charlm.signals import check


@app.command(name="eval")
def evaluate(
    run: RUN,
    split: Annotated[str, typer.Option(help="Of the run's corpus: test, valid or train.")] = "",
    text: Annotated[str, typer.Option(help="Score this text instead, whole.")] = "",
    corpus: Annotated[
        list[str] | None, typer.Option(help="Where the run's corpus is now, if it was moved.")
    ] = None,
    checkpoint: CHECKPOINT = "best",
    cell: CELL = "",
    kernel: KERNEL = "auto",
    device: DEVICE = "auto",
    threads: THREADS = 1,
    json: JSON = False,
) -> None:
    """Score a text exactly: every character once, in one stream.

    charlm eval runs/code

    charlm eval runs/code --text other.txt --json
    """
    if text and split:
        raise BadConfig("--text and --split: one of them, for --text scores the whole file")
    if split not in ("", "test", "valid", "train"):
        raise BadConfig(f"--split {split}: test, valid or train")
    from charlm.corpus import reload
    from charlm.encoding import encoded
    from charlm.evaluate import score
    from charlm.machine import prepare
    from charlm.run import Run
    from charlm.show import progress, tables
    from charlm.source import sources

    check()
    opened = Run(run)
    opened.admit(cell)
    record = opened.record
    device, _ = prepare(device, threads)
    weights, model = with_weights(opened, checkpoint, kernel, device, threads)
    split = split or "test"
    with progress.reading("reading the text", 10.0) as tick:
        if text:
            encoding = encoded([sources([text], record.config.glob)], opened.alphabet, tick)
            span = (0, encoding.size)
        else:
            encoding = reload(record.config, record.text, corpus or [], tick).encoding
            span = record.text.splits[split]
    with progress.reading("scoring", 10.0) as tick:
        exact = score(model, opened.alphabet, encoding, span, tick)
    told = {
        **exact,
        "split": None if text else split,
        "run_corpus_sha256": record.text.digest.sha256,
        "weights_sha256": weights.sha256,
        "update": weights.progress.update,
        "kernel": model.kernel,
    }
    if json:
        show.result_json(told)
    else:
        tables.score(told, text or split)
        show.result(f"weights    {weights.sha256} (update {weights.progress.update})")
        show.result(f"kernel     {model.kernel}")
