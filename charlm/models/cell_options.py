"""Settings that only some cells have, such as the number of heads: `Cell.options`."""

from collections.abc import Mapping, Sequence

from charlm.cells.loader import CUSTOM_CELLS, get_cell
from charlm.cells.names import cell_label, parse_custom_cell
from charlm.config import Config, option_name
from charlm.errors import ConfigError
from charlm.settings.model import CELL_OPTIONS
from charlm.settings.values import Setting


def check_cell_options(config: Config) -> None:
    """Raise if a setting has been changed that this cell does not have.

    Raises:
        ConfigError: As said.
    """
    for name in CELL_OPTIONS:
        value = getattr(config, name)
        if value != getattr(Config(), name) and name not in get_cell(config.cell).options:
            raise ConfigError(
                f"cannot use {option_name(name)} {value}: {cell_label(config.cell)} has no such "
                "option. Leave it out, or try a cell that has it, such as gated-deltanet"
            )


def settings_for(cell: str, settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return settings that several cells share, with this cell and only the options it has."""
    missing = {*CELL_OPTIONS}.difference(get_cell(cell).options)
    kept = {name: value for name, value in settings.items() if name not in missing}
    return {**kept, "cell": cell}


def check_shared_options(settings: Mapping[str, Setting], cells: Sequence[str]) -> None:
    """Raise if a setting has been changed that none of these cells has.

    Raises:
        ConfigError: As said.
    """
    for name in CELL_OPTIONS:
        default = getattr(Config(), name)
        if settings.get(name, default) == default:
            continue
        if not any(name in get_cell(cell).options for cell in cells):
            raise ConfigError(
                f"cannot use {option_name(name)} {settings[name]}: none of "
                f"{', '.join(map(cell_label, cells))} has this option. Leave it out"
            )


def may_have_option(cell: str, name: str) -> bool:
    """Return whether a cell has an option; a custom cell that is not loaded may have it."""
    if parse_custom_cell(cell) is not None and cell not in CUSTOM_CELLS:
        return True
    return name in get_cell(cell).options
