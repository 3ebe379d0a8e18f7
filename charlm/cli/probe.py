"""charlm probe"""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from charlm import show
from charlm.cli.given import Work, file_of, probed, with_weights
from charlm.cli.root import app
from charlm.flags import CHECKPOINT, DEVICE, JSON, KERNEL, LOG_EVERY
from charlm.signals import check


@app.command()
def probe(
    runs: Annotated[list[Path], typer.Argument(help="Directories that charlm train has made.")],
    only: Annotated[
        str, typer.Option(help="Which probes, with commas between; else all of them.")
    ] = "",
    split: Annotated[Literal["test", "valid"], typer.Option(help="Of the runs' corpus.")] = "test",
    characters: Annotated[
        int, typer.Option(help="How many of the split, from its beginning.", min=1)
    ] = 100_000,
    corpus: Annotated[
        list[str] | None, typer.Option(help="Where the runs' corpus is now, if it was moved.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where answers and report are kept.")] = Path("probes"),
    seed: Annotated[int, typer.Option(help="Of every choice that a probe makes.", min=0)] = 0,
    checkpoint: CHECKPOINT = "best",
    cell: Annotated[
        list[str] | None,
        typer.Option(help="FILE.py:CLASS of runs that have their cell there: it is run."),
    ] = None,
    kernel: KERNEL = "auto",
    device: DEVICE = "auto",
    jobs: Annotated[
        int, typer.Option(help="Runs side by side, one thread each; 0: one a core.", min=0)
    ] = 0,
    log_every: LOG_EVERY = 10.0,
    json: JSON = False,
) -> None:
    """How far back does a run remember? Every probe, on text that it was not trained on.

    charlm probe runs/code

    charlm probe runs/gru runs/lstm --only context,recl --out gru-or-lstm

    The same command again goes on where it was stopped.
    """
    from charlm import ask
    from charlm.corpus import reload
    from charlm.machine import cores, prepare
    from charlm.run import Run, refuse_existing, writer
    from charlm.show import tables
    from charlm.show.progress import reading
    from charlm.workers import Local

    check()
    asked = ask.Asked(split, characters, seed)
    wanted = ask.chosen([name.strip() for name in only.split(",") if name.strip()])
    opened = [Run(path) for path in runs]
    for run in opened:
        run.admit(file_of(run, cell or []))
    ask.refuse_other_texts(opened)
    device, _ = prepare(device, 1)
    if not ask.is_place(out):
        refuse_existing(out)
    with writer(out):
        ask.begin(out, opened, asked, checkpoint)
        if len(opened) == 1:
            (run,) = opened
            with reading("reading the text", log_every) as tick:
                text = reload(run.record.config, run.record.text, corpus or [], tick)
            weights, model = with_weights(run, checkpoint, kernel, device, 1)
            told = ask.about(run, text, weights, asked)
            ask.of_run(
                run, text, told, model, asked, wanted, out, lambda what: reading(what, log_every)
            )
            report = ask.together([told], [out], wanted, ["charlm", *sys.argv[1:]])
            ask.keep(report, out)
        else:
            words = [f"--only={only}", f"--split={split}", f"--characters={characters}"]
            words += [f"--corpus={name}" for name in corpus or []]
            words += [f"--seed={seed}", f"--checkpoint={checkpoint}"]
            words += [f"--kernel={kernel}", f"--device={device}"]
            engine = Local(jobs or (cores() if device == "cpu" else 1), device)
            report = probed(opened, wanted, words, Work(out, engine, log_every))
    if json:
        show.result_json(report)
    else:
        tables.probes(report)
    show.say(f"in {out}: report.html, report.json and every answer")
