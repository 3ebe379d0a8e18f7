"""Options of commands that compare cells, on a text or on a task."""

from typing import Annotated, Literal

import typer

from charlm.cli.completion import complete_cells
from charlm.comparison.request import DEFAULT_BASELINES, DEFAULT_CELLS, DEFAULT_SEEDS
from charlm.execution.jobs import MAX_JOBS

DEFAULT_CELL_NAMES, DEFAULT_BASELINE_NAMES = map(",".join, (DEFAULT_CELLS, DEFAULT_BASELINES))
CELLS = Annotated[
    str,
    typer.Option(
        metavar="NAMES",
        help="Cells to compare; also FILE.py:CLASS.",
        autocompletion=complete_cells,
    ),
]
REFERENCE_CELL = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Cell that the others are compared with. [default: gru, else the first with gates]",
        show_default=False,
    ),
]
MARGIN = Annotated[
    float,
    typer.Option(
        metavar="BITS", help="Smallest relevant difference per character.", min=1e-6, max=100
    ),
]
SEEDS = Annotated[
    int,
    typer.Option(
        metavar="N",
        help=f"Runs per cell; with fewer than {DEFAULT_SEEDS}, no verdict.",
        min=1,
        max=1000,
    ),
]
MATCH = Annotated[
    Literal["params", "flops", "state", "time"],
    typer.Option(help="What all models have as much of: params, flops, state or time."),
]
PARAMS = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Parameters of every model, as near as all cells allow; with another --match, of "
        "the LSTM that defines the amount.",
        min=1,
        max=10**10,
    ),
]
MINUTES = Annotated[
    float,
    typer.Option(
        metavar="MINUTES",
        help="Minutes of the whole command, instead of another budget.",
        min=0,
        max=1e6,
        show_default=False,
    ),
]
TRIALS = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Tuning trials per cell and seed, instead of recipes.",
        min=0,
        max=1000,
    ),
]
LR_RANGE = Annotated[
    str,
    typer.Option(
        metavar="LOW..HIGH",
        help="Learning rates of the trials. [default: 1e-3..4e-2]",
        show_default=False,
    ),
]
BASELINES = Annotated[
    str,
    typer.Option(
        metavar="NAMES",
        help="Reference scores: all, none, or some of uniform, unigram, n-gram, gzip, bz2, xz "
        "and zstd; also transformer, which is trained and not in all.",
    ),
]
MEMORY = Annotated[
    bool,
    typer.Option("--memory/--no-memory", help="Measure how far back each run remembers."),
]
PROFILED_TASKS = Annotated[
    list[str] | None,
    typer.Option(
        "--tasks",
        metavar="DIR",
        help="Finished tasks comparison, for the memory profile.",
        show_default=False,
    ),
]
CLUSTER_JOBS = Annotated[
    int,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        help="Runs side by side, with Ray per GPU. 0: one per core or GPU.",
        min=0,
        max=MAX_JOBS,
    ),
]
EXECUTOR = Annotated[
    Literal["local", "ray"],
    typer.Option(help="Train here, or in a Ray cluster that shares --out."),
]
RAY_ADDRESS = Annotated[
    str,
    typer.Option(
        metavar="HOST:PORT",
        help="Address of the Ray cluster. [default: that of this machine]",
        show_default=False,
    ),
]
