"""charlm compare-cells"""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from charlm import show, tuning
from charlm.cli import on_task, on_text
from charlm.cli.given import Work, engine_of, from_anywhere, load_own
from charlm.cli.root import app
from charlm.config import OF_TEXT, Config, checked, flag, label
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
    baseline: Annotated[
        str, typer.Option(help="The cell that others are judged by; the first, if none is named.")
    ] = "",
    margin: Annotated[
        float | None,
        typer.Option(help="A difference of fewer bits makes none (0.01).", min=1e-6, max=100),
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="Runs of each cell; with fewer than 6, no verdict.", min=1, max=1000)
    ] = 6,
    match: Annotated[
        Literal["parameters", "flops", "state", "seconds"],
        typer.Option(
            help="What every cell has as much of: each gets the hidden size that makes it so. "
            "seconds are of an update, and measured first."
        ),
    ] = "parameters",
    parameters: Annotated[
        int,
        typer.Option(
            help="Of every model; with another --match, of the LSTM whose FLOPs, state or seconds "
            "all have.",
            min=1,
            max=10**10,
        ),
    ] = 150_000,
    out: Annotated[Path, typer.Option(help="Where the comparison is kept.")] = Path("comparison"),
    jobs: Annotated[
        int, typer.Option(help="Runs side by side, if they fit into memory; 0: one a core.", min=0)
    ] = 0,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what the runs would take; begin none.")
    ] = False,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="Where runs are made: here, or in a Ray cluster that shares --out."),
    ] = "local",
    ray_address: Annotated[
        str, typer.Option(help="HOST:PORT of the cluster, or auto: the one of this machine.")
    ] = "",
    log_every: LOG_EVERY = 10.0,
    trials: Annotated[
        int,
        typer.Option(
            help="Random trials that tune each cell; 0: one learning rate for all.",
            min=0,
            max=1000,
        ),
    ] = 0,
    lr_range: Annotated[
        str, typer.Option(help="Learning rates of the trials (3e-4..3e-2).", show_default=False)
    ] = "",
    probe: Annotated[
        bool, typer.Option("--probe", help="Ask every run how far back it remembers, too.")
    ] = False,
    transformer: Annotated[
        bool,
        typer.Option(help="Train a small Transformer, too, as a baseline of a text."),
    ] = True,
    task: Annotated[
        str, typer.Option(help="No text, but one of those that charlm tasks lists.")
    ] = "",
    distance: Annotated[
        str, typer.Option(help="Of the task: 10..1000 (10, 20, 50, 100 …), or a list: 10,30.")
    ] = "",
    json: JSON = False,
) -> None:
    """Compare recurrent cells on one text: equal parameters, data order and updates.

    charlm compare-cells

    charlm compare-cells book.txt --cells gru,lstm --seeds 8 --updates 5000 --out mine

    charlm compare-cells book.txt --trials 9 --out tuned

    charlm compare-cells book.txt --match flops --plan

    charlm compare-cells book.txt --probe --out how-far-back

    charlm compare-cells --task copy --distance 10..1000 --parameters 25000 --out copy

    The same command again goes on where it was stopped; more cells, seeds or greater distances
    reuse what is done. With --trials, what is not given of --lr, --dropout, --keep-bias and --clip
    is searched for each cell, on the validation split: all trials get a ninth of the updates, the
    best third of them a third (one or two get that at once). On a task, each cell and seed is
    trained anew at one distance after another, at most --updates each, until one is not solved.

    In a cluster (--engine ray) all machines share --out, the texts and the current directory; on
    its GPUs, --jobs says how many runs share one.
    """
    if bool(task) != bool(distance):
        raise BadConfig("--task and --distance go together, as in --task copy --distance 10..1000")
    if task:
        of_text = [*(corpus or []), *(flag(name) for name in OF_TEXT if name in given)]
        if of_text:
            raise BadConfig(f"--task {task} reads no text: leave {of_text[0]} out")
        for said, why in {
            "--probe asks runs on a text": probe,
            "--plan cannot know how far climbs get": plan,
            "--match seconds is of updates on a text": match == "seconds",
            "--trials tunes cells on a text": trials,
            "--baseline judges bits of a text": baseline,
            "--margin judges bits of a text": margin,
        }.items():
            if why:
                raise BadConfig(f"{said}: leave it out, or --task")
    if lr_range and not trials:
        raise BadConfig("--lr-range is what trials search: say --trials, too, or leave it out")
    if ray_address and engine != "ray":
        raise BadConfig("--ray-address is a cluster's: say --engine ray, too, or leave it out")
    if engine == "ray" and (plan or match == "seconds"):
        timed = "--plan" if plan else "--match seconds"
        raise BadConfig(f"{timed} times the cells on this machine: leave --engine ray out of it")
    if engine == "ray" and find_spec("ray") is None:
        raise BadConfig("--engine ray needs Ray: pip install 'charlm[ray]'")
    search = tuning.search(trials, given, lr_range) if trials else None
    given = from_anywhere(given)
    if given.get("tie"):
        if "embedding" in given:
            raise BadConfig("--tie: the table is as wide as each cell: leave --embedding out")
        given["hidden"] = Config().embedding  # until each cell's own is chosen, both of them
    config = checked(given)
    names = named(cells, given)
    baseline = baseline or names[0]
    if baseline not in names:
        raise BadConfig(f"--baseline {baseline}: one of --cells, {', '.join(names)}")
    from charlm import compare
    from charlm.conclusion import Judge
    from charlm.machine import cores, prepare
    from charlm.run import refuse_existing, writer
    from charlm.show import tables, tasks
    from charlm.show import tuning as tunings
    from charlm.show.forecast import forecast
    from charlm.verdict import MARGIN

    check()
    steps = on_task.steps(task, distance) if task else []
    load_own(names)
    here, _ = prepare(config.device if engine == "local" else "cpu", 1)
    device = here if engine == "local" else config.device  # of the cluster's machines
    if not compare.is_comparison(out):
        refuse_existing(out)
    with writer(out):
        compare.begin(out)
        side_by_side = jobs or (0 if engine == "ray" else 1 if task and here != "cpu" else cores())
        with engine_of(engine, ray_address, device, side_by_side, out) as there:
            work, same = Work(out, there, log_every), (given, names, seeds, parameters, match)
            if task:
                report = on_task.compare(work, on_task.Asked(*same, task, steps))
            else:
                texts = compare.kept_standard_input(corpus or ["python-docs"], out)
                judge = Judge(baseline, margin or MARGIN)
                asked = on_text.Asked(*same, texts, search, judge, transformer, probe)
                made = on_text.made(work, asked)
                if plan:
                    report = on_text.forecast(work, made)
                else:
                    report, times = on_text.compare(work, asked, made)
    if json:
        show.result_json(report)
    elif plan:
        forecast(report)
    elif task:
        tasks.comparison(report)
    else:
        tables.comparison(report, times)
        if report["tuning"]:
            tunings.chosen(report["tuning"])
    if not plan:
        show.say(f"in {out}: report.html, report.json and every {'climb' if task else 'run'}")


def named(cells: str, given: dict[str, Any]) -> list[str]:
    """The cells of a list with commas, each of which can be had with these settings."""
    names = list(dict.fromkeys(name.strip() for name in cells.split(",") if name.strip()))
    if not names:
        raise BadConfig("--cells: name at least one, such as --cells rnn,gru,lstm")
    called: dict[str, str] = {}
    for name in names:
        checked({**given, "cell": name})
        if (other := called.setdefault(label(name), name)) != name:
            raise BadConfig(
                f"--cells: {other} and {name} would both be called {label(name)}: give one's file "
                "or class another name"
            )
    return names
