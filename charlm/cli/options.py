"""Command-line flags: one for each field of Config, and those that several commands share."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

from charlm.config import Config, option_metadata, option_name

LOG_EVERY = Annotated[
    float, typer.Option(help="Seconds between plain lines, off a terminal.", min=0.01)
]
JSON = Annotated[bool, typer.Option("--json", help="The result as one JSON object.")]
CHECKPOINT = Annotated[
    Literal["best", "last"], typer.Option(help="Which weights: best on validation, or the last.")
]
DEVICE = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
THREADS = Annotated[int, typer.Option(help="Threads on a CPU.", min=1)]
BUDGET_FIELDS = ("max_steps", "epochs", "minutes")  # 0 says that there is no such budget
CELL = Annotated[
    str, typer.Option("--cell", help="FILE.py:CLASS of a run that has its cell there: it is run.")
]
TRUST_CELL = Annotated[
    str,
    typer.Option(
        help="Path of the custom cell that the run uses. The file is executed.",
        metavar="FILE.py:CLASS",
    ),
]
MOVED_CORPUS = Annotated[
    list[str] | None, typer.Option(help="Path of the run's corpus, if it was moved.")
]
RUN = Annotated[Path, typer.Argument(help="A directory that charlm train has made.")]
KERNEL = Annotated[
    str, typer.Option(help="How time is walked: auto, or one that charlm cells lists.")
]
CORPUS = Annotated[
    list[str] | None,
    typer.Argument(
        help="Files (also .gz, .bz2, .xz), directories, - for standard input, or a named corpus: "
        "python-docs (the default), python-source.",
        show_default=False,
    ),
]


def add_config_options(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command a flag for each field of Config; those used reach it as `given`."""

    def with_flags(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)
        parameters = [p for p in signature.parameters.values() if p.name != "given"]
        for name, kind in get_type_hints(Config).items():
            if name in without:
                continue
            said = option_metadata(name)
            default = getattr(Config(), name)
            plain = kind if kind in (int, float, bool) else str
            names = (
                f"{option_name(name)}/{option_name('no_' + name)}"
                if kind is bool
                else option_name(name)
            )
            shown = (
                ""
                if default == "" or default is False or name in BUDGET_FIELDS
                else f" ({default})"
            )
            option = typer.Option(
                names,
                *said["also"],
                help=f"{said['help'][0].upper()}{said['help'][1:]}{shown}.",
                rich_help_panel=said["panel"],
                metavar="|".join(kind.__args__) if plain is str and kind is not str else None,
            )
            parameters.append(
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=None,
                    annotation=Annotated[plain | None, option],
                )
            )

        def called(**words: Any) -> None:
            own = {name: words.pop(name) for name in list(words) if name in signature.parameters}
            command(**own, given={n: value for n, value in words.items() if value is not None})

        called.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=sorted(parameters, key=lambda p: p.kind)
        )
        called.__doc__, called.__name__ = command.__doc__, command.__name__
        return called

    return with_flags
