"""`charlm config`: show the settings that a run has or would have."""

from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import to_builtins

from charlm import console
from charlm.cli.app import CommandLine, app
from charlm.cli.config_file import CONFIG, PRESET, value_place
from charlm.cli.help import HOUSE
from charlm.cli.options import INIT_FROM, JSON, QUIET, add_config_options
from charlm.cli.train import DEFAULT_CORPUS, open_source
from charlm.config import option_name, validate_config
from charlm.errors import ConfigError

config_app = CommandLine(no_args_is_help=True)
app.add_typer(config_app, name="config", rich_help_panel=HOUSE)


@config_app.callback()
def config() -> None:
    """Show settings and the origin of each value.

    Examples:
        $ charlm config show runs/first > run.toml
        $ charlm config show --preset minute
    """


@config_app.command(name="show")
@add_config_options(by_reference=True)
def show_config(
    context: typer.Context,
    settings: dict[str, Any],
    text: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="A run, or text as for train.", show_default=False),
    ] = None,
    init_from: INIT_FROM = None,
    config_file: CONFIG = None,
    preset: PRESET = "",  # noqa: ARG001
    quiet: QUIET = False,  # noqa: ARG001
    json: JSON = False,
) -> None:
    """Print settings as a file for --config.

    They are those of a run, or those that charlm train would have with the same words. Comments
    name the origin of each value: default, recipe of the cell, preset, file or command line. A
    budget in minutes is measured.

    Examples:
        $ charlm config show --cell gru --minutes 5
        $ charlm config show runs/first > run.toml
        $ charlm train --config run.toml --run runs/again  # the same weights
    """
    validate_config(settings)  # before anything is imported
    from charlm.data.sources import make_paths_absolute
    from charlm.execution.signals import raise_pending
    from charlm.reporting.terminal.settings import print_settings
    from charlm.runs.run import Run, is_run
    from charlm.testing.trusted_cells import load_and_check_custom_cells
    from charlm.training.dry_run import resolve_settings
    from charlm.training.settings_report import describe_run_settings, describe_settings

    raise_pending()
    places = {name: place for name in context.params if (place := value_place(context, name))}
    if text and is_run(Path(text[0])):
        if others := [name for name in settings if name in places]:
            raise ConfigError(
                f"cannot use {option_name(others[0])} with a run: its settings are known. "
                f"Try --config {text[0]} for a new run"
            )
        resolved = describe_run_settings(Run(text[0]))
    else:
        settings = make_paths_absolute(settings)
        source = open_source(init_from, settings, "", config_file) if init_from else None
        config = source.config if source else validate_config(settings)
        load_and_check_custom_cells([config.cell])
        record = resolve_settings(text or DEFAULT_CORPUS, config, init_from=source)
        resolved = describe_settings(record, config, tuple(text or [DEFAULT_CORPUS]), places)
    if json:
        console.print_json(to_builtins(resolved))
    else:
        print_settings(resolved)
