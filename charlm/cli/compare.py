"""charlm compare-cells"""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from charlm import console
from charlm.cli.app import app
from charlm.cli.options import CORPUS, JSON, LOG_EVERY, add_config_options
from charlm.comparison import compare_on_task, compare_on_text, compare_runs, search
from charlm.comparison.request import ComparisonRequest
from charlm.config import Config
from charlm.data.sources import make_paths_absolute
from charlm.errors import ConfigError
from charlm.execution.executor import Execution, make_executor
from charlm.execution.signals import raise_pending


@app.command(name="compare-cells")
@add_config_options("cell", "hidden_size", "seed", "minutes", "final_eval", "threads")
def compare_cells(
    context: typer.Context,
    given: dict[str, Any],
    corpus: CORPUS = None,
    cells: Annotated[
        str | None,
        typer.Option(help="Which cells, with commas between (rnn,gru,lstm); also FILE.py:CLASS."),
    ] = None,
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
        bool, typer.Option("--dry-run", help="Only say what the runs would take; begin none.")
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
        int | None,
        typer.Option(
            help=f"Trials that tune each cell ({search.TRIALS}); 0, and where --lr is "
            "given: one learning rate for all.",
            min=0,
            max=1000,
            show_default=False,
        ),
    ] = None,
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

    charlm compare-cells book.txt --cells gru,lstm --seeds 8 --max-steps 5000 --out mine

    charlm compare-cells book.txt --trials 12 --lr-range 1e-3..3e-2 --out tuned

    charlm compare-cells book.txt --match flops --dry-run

    charlm compare-cells book.txt --probe --out how-far-back

    charlm compare-cells --task copy --distance 10..1000 --params 25000 --out copy

    charlm compare-cells runs/mine runs/yours --out both

    The same command again goes on where it was stopped; more cells, seeds or greater distances
    reuse what is done. What is not given of --lr, --dropout, --forget-bias and --grad-clip is searched
    for each cell by --trials, on the validation split: all get a ninth of the updates, the
    best third of them a third, the best third of those all, never fewer than two. Runs that are
    there already are compared as they are, if they were scored alike. On a task, each cell and seed
    is trained anew at one distance after another, at most --max-steps each, until one is not solved.

    In a cluster (--executor ray) all machines share --out, the texts and the current directory; on
    its GPUs, --jobs says how many runs share one.
    """
    if bool(task) != bool(distance):
        raise ConfigError(
            "--task and --distance go together, as in --task copy --distance 10..1000"
        )
    kind = (
        compare_on_task
        if task
        else compare_runs
        if compare_runs.is_run_list(corpus or [])
        else compare_on_text
    )
    if trials is None:
        trials = (
            search.DEFAULT_TRIALS if kind is compare_on_text and "learning_rate" not in given else 0
        )
    asked = ComparisonRequest(
        config_overrides=make_paths_absolute(given),
        corpus=corpus or [],
        cells=None
        if cells is None
        else [name.strip() for name in cells.split(",") if name.strip()],
        baseline=baseline,
        margin=margin,
        seeds=seeds,
        match=match,
        parameters=parameters,
        plan=plan,
        in_cluster=engine == "ray",
        search=search.make_search(trials, given, lr_range) if trials else None,
        probe=probe,
        transformer=transformer,
        task=task,
        distance=distance,
        explicit_options={name for name in context.params if _is_explicit(context, name)},
    )
    kind.validate(asked)
    if lr_range and not trials:
        raise ConfigError("--lr-range is what trials search, and there are none: leave it out")
    if ray_address and engine != "ray":
        raise ConfigError("--ray-address is a cluster's: say --executor ray, too, or leave it out")
    if engine == "ray" and find_spec("ray") is None:
        raise ConfigError("--executor ray needs Ray: pip install 'charlm[ray]'")
    from charlm.comparison.plan import check_comparison_dir
    from charlm.execution.device import available_cores, select_device
    from charlm.storage.lock import exclusive_lock

    raise_pending()
    kind.load_cells(asked)
    wanted = asked.config_overrides.get("device", Config().device)
    here, _ = select_device(wanted if engine == "local" else "cpu", 1)
    device = here if engine == "local" else wanted  # of the cluster's machines
    check_comparison_dir(out, kind.COMPARISON_KIND)
    with exclusive_lock(out):
        alone = (
            here != "cpu" and kind is not compare_on_text
        )  # what packs nothing into a GPU's memory
        side_by_side = jobs or (0 if engine == "ray" else 1 if alone else available_cores())
        with make_executor(engine, ray_address, device, side_by_side, out) as there:
            done = kind.compare_runs(Execution(out, there, log_every), asked)
    if json:
        console.print_json(done.report)
    else:
        done.print_report()
    if done.output_description:
        console.print_message(f"in {out}: {done.output_description}")


def _is_explicit(context: typer.Context, name: str) -> bool:
    """Whether the person gave this option."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
