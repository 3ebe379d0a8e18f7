"""`charlm probe`: measure how far back runs remember."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from charlm import console
from charlm.cli.app import app
from charlm.cli.completion import complete_probes, complete_run
from charlm.cli.help import UNDERSTAND
from charlm.cli.options import (
    CHECKPOINT,
    DEVICE,
    DRY_RUN,
    JOBS,
    JSON,
    KERNEL,
    LOG_EVERY,
    MOVED_CORPUS,
    QUIET,
    TRUST_CELLS,
    check_runs_exist,
    make_progress,
)
from charlm.execution.signals import raise_pending


@app.command(rich_help_panel=UNDERSTAND)
def probe(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Runs to probe; several must read the same text.",
            callback=check_runs_exist,
            autocompletion=complete_run,
        ),
    ],
    probes: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            autocompletion=complete_probes,
            help="Probes, separated by commas. [default: the five of the memory profile]",
        ),
    ] = "",
    full: Annotated[
        bool,
        typer.Option("--full", help="Measure all probes, which takes minutes."),
    ] = False,
    split: Annotated[
        Literal["test", "valid"], typer.Option(help="Split of the corpus to read.")
    ] = "test",
    max_chars: Annotated[
        int,
        typer.Option(metavar="N", help="Characters to read, from the beginning.", min=1),
    ] = 250_000,
    corpus: MOVED_CORPUS = None,
    out: Annotated[
        Path, typer.Option(metavar="PATH", help="Directory of the results and the report.")
    ] = Path("probes"),
    seed: Annotated[
        int, typer.Option(metavar="N", help="Seed of every random choice of a probe.", min=0)
    ] = 0,
    dry_run: DRY_RUN = False,
    checkpoint: CHECKPOINT = "best",
    trust_cell: TRUST_CELLS = None,
    kernel: KERNEL = "auto",
    device: DEVICE = "auto",
    jobs: JOBS = 0,
    log_every: LOG_EVERY = 10.0,
    quiet: QUIET = False,  # noqa: ARG001
    json: JSON = False,
) -> None:
    """Measure how far back runs remember.

    On text that they were not trained on: what the state holds of the characters before, what a
    model loses without distant text or its order, what it saves on a rare word that comes again,
    and whether it survives beyond its window, ending in a memory profile. --full adds the rest,
    such as the Lyapunov spectrum.

    The same command again continues an interrupted one.

    Examples:
        $ charlm probe runs/code                          # a memory profile
        $ charlm probe runs/code --full                   # all that there are
        $ charlm probe runs/code --full --dry-run         # what that takes
        $ charlm probe runs/gru runs/lstm --out gru-lstm  # two runs side by side
    """
    from charlm.probes.batch import run_probing
    from charlm.probes.dry_run import dry_run as estimate_probing
    from charlm.probes.plan import plan_probing
    from charlm.reporting.html.probes import render_probes
    from charlm.reporting.terminal.probes import print_probe_estimate, print_probes
    from charlm.runs.run import Run
    from charlm.storage import files
    from charlm.testing.trusted_cells import find_cell_file

    raise_pending()
    opened = [Run(path) for path in runs]
    for run in opened:
        run.load_custom_cell(find_cell_file(run, trust_cell or []))
    progress = make_progress(log_every)
    plan = plan_probing(
        opened,
        [name.strip() for name in probes.split(",") if name.strip()],
        full=full,
        split=split,
        max_chars=max_chars,
        seed=seed,
        checkpoint=checkpoint,
        out=out,
        sources=corpus or [],
        kernel=kernel,
        device=device,
        jobs=jobs,
    )
    if dry_run:
        estimate = estimate_probing(plan, progress)
        if json:
            console.print_json(msgspec.to_builtins(estimate))
        else:
            print_probe_estimate(estimate)
        return
    report = run_probing(plan, progress)
    files.write_atomic(out / "report.html", render_probes(report))
    if json:
        console.print_json(msgspec.to_builtins(report))
    else:
        print_probes(report)
    console.print_message(
        f"results are in {out}: report.html, report.json and the result of every probe"
    )
