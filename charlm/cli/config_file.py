"""Options --config and --preset: values of a file, a run or a preset for the other options."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperArgument

from charlm.cli.suggestions import suggest_options
from charlm.cli.values import describe_expected_value
from charlm.config import BUDGETS, Config
from charlm.config_file import ConfigFile, read_config_file
from charlm.errors import CharlmError, ConfigError
from charlm.presets import PRESETS, get_preset

# Options that a file cannot set: they say what a command does, or whose code it may execute.
NOT_IN_FILES = {"config_file", "resume", "trust_cell", "dry_run", "json", "quiet"}
PLACES = "charlm.places"  # key of the context's metadata: option -> where its value comes from


def use_config_file(context: typer.Context, value: Path | None) -> Path | None:
    """Make the values of a file or a run the defaults of the other options.

    Raises:
        ConfigError: A key is no option, or a value has the wrong type or range.
        InputNotFoundError: The file does not exist or cannot be read.
        DataError: It is not TOML, or the run is damaged.
    """
    if value is None or context.resilient_parsing:
        return value
    file = read_config_file(value)
    parameters = {_key(p): p for p in context.command.params if p.name not in NOT_IN_FILES}
    values, places = {}, {}
    for key in file.values:
        if key not in parameters:
            spellings = {s: name for name, p in parameters.items() for s in (*p.opts, f"--{name}")}
            near = suggest_options(key, list(spellings))
            option = spellings[near[0]] if near else ""
            raise file.unknown_key_error(key, option, context.command_path)
        parameter = parameters[key]
        values[parameter.name] = _default(file, key, parameter, context)
        places[parameter.name] = file.place(key)
    _add_defaults(context, values, places, override=True)
    return value


def use_preset(context: typer.Context, value: str) -> str:
    """Make the settings of a preset the defaults of the options that no file sets.

    Raises:
        UnknownNameError: There is no such preset.
    """
    if not value or context.resilient_parsing:
        return value
    own = {parameter.name for parameter in context.command.params}
    settings = {key: v for key, v in get_preset(value).settings.items() if key in own}
    values = {key: v if isinstance(v, bool) else str(v) for key, v in settings.items()}
    _add_defaults(context, values, dict.fromkeys(values, f"preset {value}"), override=False)
    return value


def value_place(context: typer.Context, name: str) -> str:
    """Return where the value of an option comes from; "" if it is its default."""
    source = context.get_parameter_source(name)
    if source is not None and source.name == "DEFAULT_MAP":
        return str(context.meta[PLACES][name])
    return "command line" if source is not None and source.name == "COMMANDLINE" else ""


def drop_overridden_budgets(context: typer.Context, arguments: dict[str, Any]) -> None:
    """Reset budgets that another one replaces: that of the command line, or of a file.

    Args:
        context: Context of the command.
        arguments: Values of its options, which are changed in place.
    """
    places = {name: value_place(context, name) for name in BUDGETS if arguments.get(name)}
    ranks = {name: _rank(place) for name, place in places.items()}
    for name, rank in ranks.items():
        if rank < max(ranks.values()):
            arguments[name] = type(arguments[name])(0)


def _rank(place: str) -> int:
    """Return the rank of a place: of two values, that of the higher one counts."""
    if place == "command line":
        return 3
    return 2 if place and not place.startswith("preset ") else bool(place)


def _key(parameter: Any) -> str:
    """Return the key of an option or argument in a file."""
    is_argument = isinstance(parameter, TyperArgument)
    return str(parameter.metavar or parameter.name).lower() if is_argument else parameter.name


def _default(file: ConfigFile, key: str, parameter: Any, context: typer.Context) -> Any:
    """Return a value of the file as the default of an option, which converts texts itself."""
    value, name = file.values[key], parameter.name
    if name in Config.__struct_fields__ and parameter.type_descriptor.annotation is str:
        return str(file.setting(name))
    takes_list = parameter.nargs == -1 or parameter.multiple
    if takes_list and isinstance(value, str):
        value = [value]
    annotation = parameter.type_descriptor.annotation
    types: tuple[type, ...] = {bool: (bool,), int: (int,), float: (int, float)}.get(
        annotation, (list,) if takes_list else (str,)
    )
    is_right = isinstance(value, types) and (bool in types or not isinstance(value, bool))
    if takes_list and is_right:
        is_right = bool(value) and all(isinstance(item, str) for item in value)
    try:
        if is_right and name == "preset":
            get_preset(value)
        elif is_right:
            parameter.process_value(context, value)
        if is_right:
            return value
    except typer.BadParameter:
        pass
    except CharlmError as error:
        raise ConfigError(f"cannot use {key} ({file.place(key)}): {error}") from None
    nouns = {bool: "true or false", list: "a text or a list of texts", str: "a text"}
    expected = describe_expected_value(parameter) or nouns[types[0]]
    raise file.value_error(key, expected)


def _add_defaults(
    context: typer.Context, values: dict[str, Any], places: dict[str, str], *, override: bool
) -> None:
    """Add defaults to the context; `override`: in place of those that it has."""
    known, known_places = context.default_map or {}, context.meta.get(PLACES, {})
    context.default_map = {**known, **values} if override else {**values, **known}
    new, old = (places, known_places) if override else (known_places, places)
    context.meta[PLACES] = {**old, **new}


def _complete_preset(incomplete: str) -> list[str]:
    return [name for name in PRESETS if name.startswith(incomplete)]


CONFIG = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE|RUN",
        help="TOML file, or run, with values of these options. The command line overrides it.",
        show_default=False,
        is_eager=True,
        callback=use_config_file,
    ),
]
PRESET = Annotated[
    str,
    typer.Option(
        "--preset",
        metavar="|".join(PRESETS),
        help="Cell, sizes and budget for a time, see docs/guides/presets.md.",
        show_default=False,
        is_eager=True,
        callback=use_preset,
        autocompletion=_complete_preset,
    ),
]
