"""Command-line options: those of the fields of `Config`, and those that several commands share."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_type_hints

import typer

from charlm import console
from charlm.cli.completion import (
    Completer,
    complete_cell,
    complete_choice,
    complete_corpus,
    complete_kernel,
    complete_run,
    complete_text,
)
from charlm.cli.config_file import drop_overridden_budgets
from charlm.cli.help import BY_REFERENCE
from charlm.cli.suggestions import did_you_mean, suggest_directories, suggest_runs
from charlm.cli.values import check_no_zeros, converter
from charlm.config import MAX_THREADS, Config, option_metadata, option_name
from charlm.errors import InputNotFoundError
from charlm.execution.jobs import MAX_JOBS
from charlm.settings.options import MACHINE

if TYPE_CHECKING:
    from charlm.progress import Progress

RUN_DIRECTORIES = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="DIR",
        help="Directories with runs or comparisons in them.",
        show_default=False,
    ),
]
TEXT = Annotated[
    list[str] | None,
    typer.Argument(
        autocompletion=complete_text,
        metavar="TEXT",
        help="Files, directories, - for standard input, or a named corpus. "
        "[default: python-source]",
        show_default=False,
    ),
]


def check_runs_exist(runs: Any) -> Any:
    """Return a run or runs; raise InputNotFoundError with the nearest name if one is missing."""
    for run in [runs] if isinstance(runs, Path) else runs or ():
        if not run.exists():
            near = did_you_mean(suggest_runs(run))
            raise InputNotFoundError(
                f"cannot open {run}: there is no such run. {near}Try charlm runs for a list"
            )
    return runs


def check_directories_exist(directories: Any) -> Any:
    """Return directories; raise InputNotFoundError if the name of a missing one is nearly right."""
    for directory in [directories] if isinstance(directories, Path) else directories or ():
        if not directory.exists() and (near := suggest_directories(directory)):
            raise InputNotFoundError(
                f"cannot read {directory}: there is no such directory. {did_you_mean(near)}"
                "Try charlm runs for a list"
            )
    return directories


def check_no_missing_run(names: Iterable[str]) -> None:
    """Raise InputNotFoundError if a text does not exist and its name is nearly that of a run."""
    for name in names:
        is_missing = name != "-" and not Path(name).exists()
        if is_missing and name not in complete_corpus("") and (near := suggest_runs(Path(name))):
            raise InputNotFoundError(
                f"cannot compare {name}: there is no such run or text. {did_you_mean(near)}"
                "Try charlm runs for a list"
            )


RUN = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="Directory of a run.",
        show_default=False,
        callback=check_runs_exist,
        autocompletion=complete_run,
    ),
]
INIT_FROM = Annotated[
    Path | None,
    typer.Option(
        "--init-from",
        metavar="RUN",
        help="Run whose best weights a new run starts from. Its model and its characters are kept.",
        show_default=False,
        callback=check_runs_exist,
        autocompletion=complete_run,
    ),
]
TRUST_CELL = Annotated[
    str,
    typer.Option(
        "--trust-cell",
        metavar="FILE.py:CLASS",
        help="The run's own cell; its file is executed.",
        show_default=False,
    ),
]
TRUST_CELLS = Annotated[
    list[str] | None,
    typer.Option(
        "--trust-cell",
        metavar="FILE.py:CLASS",
        help="A run's own cell; its file is executed. Can be repeated.",
        show_default=False,
    ),
]
MOVED_CORPUS = Annotated[
    list[str] | None,
    typer.Option(
        "--corpus",
        metavar="PATH",
        help="Text of the run, if it was moved.",
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
        autocompletion=complete_kernel,
        help="Kernel of the recurrence, or auto.",
    ),
]
DEVICE = Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.")]
THREADS = Annotated[
    int,
    typer.Option(metavar="N", help="CPU threads.", min=1, max=MAX_THREADS),
]
JOBS = Annotated[
    int,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        help="Runs side by side. 0: one per core, one on a GPU.",
        min=0,
        max=MAX_JOBS,
    ),
]
DRY_RUN = Annotated[bool, typer.Option("--dry-run", help="Estimate time and disk; write nothing.")]
LOG_EVERY = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        help="Seconds between plain lines.",
        min=0.01,
    ),
]
JSON = Annotated[bool, typer.Option("--json", help="Print the result, or the error, as JSON.")]


def _set_quiet(quiet: bool) -> bool:
    console.set_quiet(quiet)
    return quiet


QUIET = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Show no progress and no messages.", callback=_set_quiet),
]

Command = Callable[..., None]


def make_progress(log_every: float = 10.0) -> "Progress":
    """Return the display of progress on stderr: none with --quiet."""
    from charlm.progress import NoProgress
    from charlm.reporting.terminal.progress import TerminalProgress

    return NoProgress() if console.is_quiet() else TerminalProgress(log_every)


def add_config_options(
    *exclude: str, defaults: Mapping[str, object] = {}, by_reference: bool = False
) -> Callable[[Command], Command]:
    """Return a decorator that adds one option per field of `Config` to a command.

    The command gets those that were used as its argument `settings`, a dictionary.

    Args:
        exclude: Fields without an option.
        defaults: Field -> default of this command, for --help, where it has one of its own.
        by_reference: Whether --help leaves options out that `charlm train` describes.
    """

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command)
        parameters = [p for p in signature.parameters.values() if p.name != "settings"]
        names = [name for name in get_type_hints(Config) if name not in exclude]
        parameters += [_config_parameter(name, defaults, by_reference) for name in names]
        kind = inspect.Parameter.KEYWORD_ONLY
        if "context" not in signature.parameters:
            parameters.append(inspect.Parameter("context", kind, annotation=typer.Context))

        def wrapper(**arguments: Any) -> None:
            check_no_zeros(arguments["context"], arguments)
            drop_overridden_budgets(arguments["context"], arguments)
            own = {
                name: arguments.pop(name)
                for name in list(arguments)
                if name in signature.parameters
            }
            arguments.pop("context", None)  # the command does not ask for it
            settings = {name: value for name, value in arguments.items() if value is not None}
            command(**own, settings=settings)

        wrapper.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=sorted(parameters, key=lambda p: p.kind)
        )
        wrapper.__doc__, wrapper.__name__ = command.__doc__, command.__name__
        return wrapper

    return decorate


def _config_parameter(
    name: str, defaults: Mapping[str, object], by_reference: bool
) -> inspect.Parameter:
    """Return the option of a field; its value is None where the option is not used."""
    field_type: Any = get_type_hints(Config)[name]
    annotation: Any = get_type_hints(Config, include_extras=True)[name]
    metadata = option_metadata(name)
    is_switch = field_type is bool
    spelling = option_name(name)
    if is_switch:
        spelling = f"{spelling}/{option_name('no_' + name)}"
    is_described = name in defaults or not by_reference or metadata.panel == MACHINE
    option = typer.Option(
        spelling,
        *metadata.aliases,
        help=f"{metadata.help}{_default_text(name, defaults)}",
        metavar=_metavar(name, field_type),
        rich_help_panel=metadata.panel if is_described else BY_REFERENCE,
        show_default=False,
        autocompletion=_completer(name, field_type),
        callback=None if is_switch else converter(annotation, metadata.words),
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[(bool if is_switch else str) | None, option],
    )


def _completer(name: str, field_type: Any) -> Completer | None:
    """Return the completer of a field's values; None where a shell offers files."""
    named = {"cell": complete_cell, "kernel": complete_kernel}
    choices = [str(choice) for choice in get_args(field_type)]
    return named.get(name) or (complete_choice(choices) if choices else None)


def _default_text(name: str, defaults: Mapping[str, object]) -> str:
    """Return the default as --help shows it; empty for a switch and for an empty text."""
    if name in defaults:
        return f" [default: {defaults[name]}]"
    default = getattr(Config(), name)
    shown = f"{default:g}" if isinstance(default, float) else str(default)
    text = option_metadata(name).default or ("" if default is False else shown)
    return f" [default: {text}]" if text else ""


def _metavar(name: str, field_type: Any) -> str | None:
    if metavar := option_metadata(name).metavar:
        return metavar
    if field_type is bool:
        return None
    return {int: "N", float: "FLOAT"}.get(field_type) or "|".join(get_args(field_type))
