"""charlm eval"""

from typing import Annotated

import typer

from charlm import console
from charlm.cli.app import app
from charlm.cli.options import CELL, CHECKPOINT, DEVICE, JSON, KERNEL, RUN, THREADS
from charlm.errors import ConfigError
from charlm.execution.signals import raise_pending
from charlm.runs.restore import load_model


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
        raise ConfigError("--text and --split: one of them, for --text scores the whole file")
    if split not in ("", "test", "valid", "train"):
        raise ConfigError(f"--split {split}: test, valid or train")
    from charlm.data.corpus import reload_corpus
    from charlm.data.encoded_text import encode
    from charlm.data.sources import resolve_sources
    from charlm.evaluation.scoring import evaluate
    from charlm.execution.device import select_device
    from charlm.reporting.terminal import progress, tables
    from charlm.runs.run import Run

    raise_pending()
    opened = Run(run)
    opened.load_custom_cell(cell)
    record = opened.record
    device, _ = select_device(device, threads)
    weights, model = load_model(opened, checkpoint, kernel, device, threads)
    split = split or "test"
    with progress.progress_counter("reading the text", 10.0) as tick:
        if text:
            encoding = encode(
                [resolve_sources([text], record.config.glob)], opened.vocabulary, tick
            )
            span = (0, encoding.size)
        else:
            encoding = reload_corpus(record.config, record.text, corpus or []).encoding
            span = record.text.splits[split]
    with progress.progress_counter("scoring", 10.0) as tick:
        exact = evaluate(model, opened.vocabulary, encoding, span, tick)
    told = {
        **exact,
        "split": None if text else split,
        "run_corpus_sha256": record.text.digest.sha256,
        "weights_sha256": weights.sha256,
        "step": weights.progress.step,
        "kernel": model.kernel,
    }
    if json:
        console.print_json(told)
    else:
        tables.print_score(told, text or split)
        console.print_result(f"weights    {weights.sha256} (update {weights.progress.step})")
        console.print_result(f"kernel     {model.kernel}")
