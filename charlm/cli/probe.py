"""charlm probe"""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from charlm import console
from charlm.cli.app import app
from charlm.cli.options import CHECKPOINT, DEVICE, JSON, KERNEL, LOG_EVERY
from charlm.execution.executor import Execution
from charlm.execution.signals import raise_pending
from charlm.probes.batch import probe_runs
from charlm.runs.restore import load_model
from charlm.testing.trusted_cells import find_cell_file


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
    from charlm.data.corpus import reload_corpus
    from charlm.execution.device import available_cores, select_device
    from charlm.execution.jobs import LocalExecutor
    from charlm.probes import runner
    from charlm.reporting.terminal import tables
    from charlm.reporting.terminal.progress import progress_counter
    from charlm.runs.run import Run, check_not_existing
    from charlm.storage.lock import exclusive_lock

    raise_pending()
    asked = runner.ProbeRequest(split, characters, seed)
    wanted = runner.select_probes([name.strip() for name in only.split(",") if name.strip()])
    opened = [Run(path) for path in runs]
    for run in opened:
        run.load_custom_cell(find_cell_file(run, cell or []))
    runner.check_same_text(opened)
    device, _ = select_device(device, 1)
    if not runner.is_probe_dir(out):
        check_not_existing(out)
    with exclusive_lock(out):
        runner.initialize_output_dir(out, opened, asked, checkpoint)
        if len(opened) == 1:
            (run,) = opened
            with progress_counter("reading the text", log_every) as tick:
                text = reload_corpus(run.record.config, run.record.text, corpus or [])
            weights, model = load_model(run, checkpoint, kernel, device, 1)
            told = runner.describe_run(run, text, weights, asked)
            runner.probe_run(
                run,
                text,
                told,
                model,
                asked,
                wanted,
                out,
                lambda what: progress_counter(what, log_every),
            )
            report = runner.build_report([told], [out], wanted, ["charlm", *sys.argv[1:]])
            runner.write_report(report, out)
        else:
            words = [f"--only={only}", f"--split={split}", f"--characters={characters}"]
            words += [f"--corpus={name}" for name in corpus or []]
            words += [f"--seed={seed}", f"--checkpoint={checkpoint}"]
            words += [f"--kernel={kernel}", f"--device={device}"]
            engine = LocalExecutor(jobs or (available_cores() if device == "cpu" else 1), device)
            report = probe_runs(opened, wanted, words, Execution(out, engine, log_every))
    if json:
        console.print_json(report)
    else:
        tables.print_probes(report)
    console.print_message(f"in {out}: report.html, report.json and every answer")
