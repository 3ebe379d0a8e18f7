"""charlm compare-cells"""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from charlm import show, tuning
from charlm.cli.given import do, engine_of, from_anywhere, load_own, probed
from charlm.cli.root import app
from charlm.config import OF_TEXT, Config, checked, flag, label
from charlm.errors import BadConfig
from charlm.flags import CORPUS, JSON, LOG_EVERY, settings
from charlm.signals import check

if TYPE_CHECKING:
    from charlm.compare import Planned
    from charlm.corpus import Corpus
    from charlm.match import Footing
    from charlm.workers import Engine


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
        of_text = [flag(name) for name in OF_TEXT if name in given]
        if corpus or of_text:
            raise BadConfig(f"--task {task} reads no text: leave {(corpus or of_text)[0]} out")
        if probe:
            raise BadConfig("--probe asks runs on a text: leave it out, or --task")
        if plan:
            raise BadConfig("--plan cannot know how far climbs get: leave it out, or --task")
        if match == "seconds":
            raise BadConfig("--match seconds is of updates on a text: leave it out, or --task")
        if trials:
            raise BadConfig("--trials tunes cells on a text: leave it out, or --task")
        if baseline or margin:
            raise BadConfig(
                "--baseline and --margin judge bits of a text: leave them out, or --task"
            )
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
    baseline = baseline or names[0]
    if baseline not in names:
        raise BadConfig(f"--baseline {baseline}: one of --cells, {', '.join(names)}")
    from charlm import compare
    from charlm.machine import cores, prepare
    from charlm.run import refuse_existing, writer
    from charlm.show import tables
    from charlm.show import tasks as drawing
    from charlm.show import tuning as tunings
    from charlm.show.forecast import forecast
    from charlm.verdict import MARGIN

    check()
    steps = _steps(task, distance) if task else []
    load_own(names)
    here, _ = prepare(config.device if engine == "local" else "cpu", 1)
    device = here if engine == "local" else config.device  # of the cluster's machines
    if not compare.is_comparison(out):
        refuse_existing(out)
    with writer(out):
        compare.begin(out)
        side_by_side = jobs or (0 if engine == "ray" else 1 if task and here != "cpu" else cores())
        with engine_of(engine, ray_address, device, side_by_side, out) as there:
            work = Work(out, there, log_every)
            if task:
                report = _on_task(work, given, names, seeds, parameters, match, task, steps)
            else:
                texts = compare.kept_standard_input(corpus or ["python-docs"], out)
                against = Against(baseline, margin or MARGIN, transformer)
                made = _made(work, given, names, seeds, parameters, match, texts, search, against)
                if plan:
                    report = _forecast(work, made)
                else:
                    report = _on_text(work, made, texts, search, against, probe)
    if json:
        show.result_json(report)
    elif plan:
        forecast(report)
    elif task:
        drawing.comparison(report)
    else:
        tables.comparison(report)
        if report["tuning"]:
            tunings.chosen(report["tuning"])
    if not plan:
        show.say(f"in {out}: report.html, report.json and every {'climb' if task else 'run'}")


def _steps(task: str, distance: str) -> list[int]:
    """The distances that are climbed."""
    from charlm import tasks as tasks
    from charlm.task import TASKS, distances

    return distances(distance, TASKS[task].shortest)


class Against(NamedTuple):
    """What the cells of a text are held against."""

    baseline: str  # the cell that others are judged by
    margin: float  # in bits
    transformer: bool  # whether one is trained beside them


class Work(NamedTuple):
    """Where and how the jobs of a comparison are done."""

    place: Path
    engine: "Engine"
    log_every: float


class Made(NamedTuple):
    """A text, what is equal on it, and what is done there."""

    text: "Corpus"
    footing: "Footing"
    planned: "list[Planned]"  # the run of every cell and seed, as it is without its trials
    small: "list[Planned]"  # the Transformer's
    every: "dict[str, list[Planned]]"  # all that will be done, by what it is for


def _made(
    work: Work,
    given: dict[str, Any],
    cells: list[str],
    seeds: int,
    parameters: int,
    measure: str,
    texts: list[str],
    search: tuning.Search | None,
    against: Against,
) -> Made:
    """Reads the text and finds sizes that are equal; begins nothing."""
    from charlm import compare, compare_tuning, pace
    from charlm import match as matching
    from charlm import transformer as attention
    from charlm.corpus import load
    from charlm.show import progress
    from charlm.train import updates_of

    with progress.reading("reading the text", work.log_every) as tick:
        text = load(checked(given), texts, tick)
    digest, symbols, ids = text.text.digest, text.alphabet.size, text.split("train")
    if measure == "seconds":
        with progress.reading("timing each cell", work.log_every) as tick:
            footing = pace.equal(
                given, cells, parameters, symbols, ids, work.engine.where, work.place, tick
            )
    else:
        footing = matching.equal(given, cells, parameters, symbols, measure)
    planned = compare.plan(given, seeds, footing, digest, symbols, work.place)
    small = []
    if against.transformer:
        small = attention.planned(given, seeds, parameters, digest, symbols, work.place, show.say)
    every = {"run": planned}
    if search:
        updates = updates_of(planned[0].config, ids)
        trials, runs = compare_tuning.foreseen(planned, search, updates, digest)
        every = {"run": runs, "trial": trials}
    every[attention.NAME] = attention.apart(small, every["run"])
    return Made(text, footing, planned, small, every)


def _forecast(work: Work, made: Made) -> dict[str, Any]:
    """What the runs will take."""
    from charlm.forecast import forecast
    from charlm.show import progress
    from charlm.workers import Local

    assert isinstance(work.engine, Local)  # a plan for a cluster was refused
    with progress.reading("timing each cell", work.log_every) as tick:
        return forecast(made.every, made.footing, made.text, work.place, work.engine, tick)


def _on_text(
    work: Work,
    made: Made,
    texts: list[str],
    search: tuning.Search | None,
    against: Against,
    probe: bool,
) -> dict[str, Any]:
    """Does the runs, tuned and probed if so told; their report."""
    from charlm import baselines, compare, compare_tuning, forecast
    from charlm import transformer as attention
    from charlm.show import tables
    from charlm.show import tuning as tunings
    from charlm.train import updates_of
    from charlm.workers import Local, told

    text, footing, planned, small, every = made
    digest, symbols = text.text.digest, text.alphabet.size
    whole = [one for some in every.values() for one in some]
    forecast.refuse_full(work.place, sum(forecast.disk_left(one, text) for one in whole))
    engine, where = work.engine, told(work.engine)
    if isinstance(engine, Local):  # in a cluster each machine has what it has
        needs = [forecast.memory_of(one.config, symbols, engine.where) for one in whole]
        engine, where = forecast.packed(engine, needs)
    tables.planned(planned, text, footing, where, work.place, tuned=search is not None)
    tables.beside(small)
    beside = baselines.kept(text, work.place, lambda name: show.say(f"measuring {name}"))
    tried = None
    if search:
        updates = updates_of(planned[0].config, text.split("train"))
        tunings.planned(tuning.asked(search, updates))
        tried = compare_tuning.tune(
            *(planned, search, updates, digest, symbols),
            lambda one: one.job(texts),
            lambda jobs: do(jobs, work.place, engine, work.log_every),
        )
        planned = compare_tuning.settled(planned, tried, digest)
    jobs = [*(one.job(texts) for one in planned), *attention.jobs(small, planned, texts)]
    do(jobs, work.place, engine, work.log_every)
    if against.transformer:
        beside.append(attention.baseline(small))
    asked = None
    if probe and (runs := compare.ended(planned)):
        from charlm.ask import chosen

        place = work.place / "probes"
        asked = probed(runs, place, chosen([]), [], engine, work.log_every)
    words = ["charlm", *sys.argv[1:]]
    return compare.conclude(
        planned,
        footing,
        work.place,
        words,
        show.say,
        against.baseline,
        against.margin,
        beside,
        asked,
        tried,
    )


def _on_task(
    work: Work,
    given: dict[str, Any],
    cells: list[str],
    seeds: int,
    parameters: int,
    measure: str,
    task: str,
    steps: list[int],
) -> dict[str, Any]:
    """Climbs of every cell and seed; their report."""
    from charlm import compare_task
    from charlm import match as matching
    from charlm.climb import refuse_too_far
    from charlm.show import tasks as drawing
    from charlm.task import TASKS
    from charlm.workers import Local, told

    symbols, kind = TASKS[task].symbols, TASKS[task].model
    footing = matching.equal(given, cells, parameters, symbols, measure, kind)
    planned = compare_task.plan(given, seeds, footing, task, steps, work.place)
    left = [one.config for one in planned if not one.look().ended]
    if isinstance(work.engine, Local):  # in a cluster each climb looks at its own machine
        here = work.engine
        refuse_too_far(left, TASKS[task], steps[-1], here.where, here.side_by_side)
    drawing.planned(planned, footing, told(work.engine), work.place)
    do([one.job for one in planned], work.place, work.engine, work.log_every)
    return compare_task.conclude(planned, footing, work.place, ["charlm", *sys.argv[1:]])
