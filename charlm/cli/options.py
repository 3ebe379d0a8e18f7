"""Command-line options: those of the fields of `Config`, and those that several commands share."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import typer

from charlm.config import Config, option_metadata, option_name

TEXT = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TEXT",
        help="Files (also .gz, .bz2, .xz), directories, - for standard input, or a named corpus: "
        "python-docs, python-source. \\[default: python-source]",
        show_default=False,
    ),
]
RUN = Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run.", show_default=False)]
TRUST_CELL = Annotated[
    str,
    typer.Option(
        "--trust-cell",
        metavar="FILE.py:CLASS",
        help="Path of the custom cell that the run uses. The file is executed.",
        show_default=False,
    ),
]
TRUST_CELLS = Annotated[
    list[str] | None,
    typer.Option(
        "--trust-cell",
        metavar="FILE.py:CLASS",
        help="Path of a custom cell that a run uses. The file is executed. Can be repeated.",
        show_default=False,
    ),
]
MOVED_CORPUS = Annotated[
    list[str] | None,
    typer.Option(
        "--corpus",
        metavar="PATH",
        help="Path of the run's corpus, if it was moved.",
        show_default=False,
    ),
]
CHECKPOINT = Annotated[
    Literal["best", "last"], typer.Option(help="Weights: best on validation, or last.")
]
KERNEL = Annotated[
    str,
    typer.Option(
        metavar="KERNEL",
        help="Implementation of the recurrence: auto, or a name from charlm cells.",
    ),
]
DEVICE = Annotated[str, typer.Option(metavar="DEVICE", help="Device: auto, cpu, cuda or cuda:N.")]
THREADS = Annotated[int, typer.Option(metavar="N", help="CPU threads.", min=1)]
JOBS = Annotated[
    int,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        help="Runs side by side. 0: one per core, or one on a GPU.",
        min=0,
    ),
]
CLUSTER_JOBS = Annotated[
    int,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        help="Runs side by side; with Ray on GPUs: per GPU. 0: one per core, or one on a GPU.",
        min=0,
    ),
]
EXECUTOR = Annotated[
    Literal["local", "ray"],
    typer.Option(help="Where runs are trained: here, or in a Ray cluster that shares --out."),
]
RAY_ADDRESS = Annotated[
    str,
    typer.Option(
        metavar="HOST:PORT",
        help="Address of the Ray cluster. \\[default: that of this machine]",
        show_default=False,
    ),
]
LOG_EVERY = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        help="Seconds between progress lines if stderr is not a terminal.",
        min=0.01,
    ),
]
JSON = Annotated[bool, typer.Option("--json", help="Print the result as JSON on one line.")]

Command = Callable[..., None]


def add_config_options(
    *exclude: str, defaults: Mapping[str, object] = {}
) -> Callable[[Command], Command]:
    """Return a decorator that adds one option per field of `Config` to a command.

    The command gets those that were used as its argument `settings`, a dictionary.

    Args:
        exclude: Fields without an option.
        defaults: Field -> default of this command, for --help, where it has one of its own.
    """

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command)
        parameters = [p for p in signature.parameters.values() if p.name != "settings"]
        names = [name for name in get_type_hints(Config) if name not in exclude]
        parameters += [_config_parameter(name, defaults) for name in names]

        def wrapper(**arguments: Any) -> None:
            own = {
                name: arguments.pop(name)
                for name in list(arguments)
                if name in signature.parameters
            }
            settings = {name: value for name, value in arguments.items() if value is not None}
            command(**own, settings=settings)

        wrapper.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=sorted(parameters, key=lambda p: p.kind)
        )
        wrapper.__doc__, wrapper.__name__ = command.__doc__, command.__name__
        return wrapper

    return decorate


def _config_parameter(name: str, defaults: Mapping[str, object]) -> inspect.Parameter:
    """Return the option of a field; its value is None where the option is not used."""
    field_type: Any = get_type_hints(Config)[name]
    metadata = option_metadata(name)
    option_type = field_type if field_type in (int, float, bool) else str
    spelling = option_name(name)
    if field_type is bool:
        spelling = f"{spelling}/{option_name('no_' + name)}"
    option = typer.Option(
        spelling,
        *metadata.aliases,
        help=f"{metadata.help}{_default_text(name, defaults)}",
        metavar=_metavar(name, field_type),
        rich_help_panel=metadata.panel,
        show_default=False,
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[option_type | None, option],
    )


def _default_text(name: str, defaults: Mapping[str, object]) -> str:
    """Return the default as --help shows it; empty for a switch and for an empty text."""
    if name in defaults:
        return f" \\[default: {defaults[name]}]"
    default = getattr(Config(), name)
    text = option_metadata(name).default or ("" if default is False else str(default))
    return f" \\[default: {text}]" if text else ""


def _metavar(name: str, field_type: Any) -> str | None:
    if metavar := option_metadata(name).metavar:
        return metavar
    if field_type is bool:
        return None
    return {int: "N", float: "FLOAT"}.get(field_type) or "|".join(get_args(field_type))
