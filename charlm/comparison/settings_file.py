"""Configuration file of a comparison, as `compare-cells --config` takes it, for a program."""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from charlm.comparison.request import (
    DEFAULT_BASELINES,
    DEFAULT_CELLS,
    DEFAULT_MARGIN,
    DEFAULT_PARAMS,
    DEFAULT_SEEDS,
    OWN_SETTINGS,
    parse_baselines,
    split_names,
)
from charlm.config import BUDGETS, Config
from charlm.config_file import nearest_field, read_config_file
from charlm.results.comparison_plan import Measure
from charlm.settings.expected import describe_expected
from charlm.settings.values import Setting

# Options that mean nothing to a program, which gives the text and shows the progress itself.
IGNORED = ("text", "log_every")
LISTS = {"cells": split_names, "baselines": parse_baselines}  # in a file, a text with commas


class ComparisonArguments(msgspec.Struct, frozen=True, kw_only=True):
    """Arguments of `charlm.compare` that are options of `compare-cells`, with its defaults."""

    cells: tuple[str, ...] = DEFAULT_CELLS
    params: Annotated[int, Meta(ge=1, le=10**10)] = DEFAULT_PARAMS
    seeds: Annotated[int, Meta(ge=1, le=1000)] = DEFAULT_SEEDS
    out: str = "comparison"
    minutes: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    reference: str = ""
    match: Measure = "params"
    margin: Annotated[float, Meta(ge=1e-6, le=100)] = DEFAULT_MARGIN
    trials: Annotated[int, Meta(ge=0, le=1000)] = 0
    lr_range: str = ""
    baselines: tuple[str, ...] = DEFAULT_BASELINES
    memory: bool = True
    tasks: tuple[str, ...] = ()
    jobs: Annotated[int, Meta(ge=0)] = 0
    device: str = "auto"
    executor: Literal["local", "ray"] = "local"
    ray_address: str = ""


class ComparisonFile(msgspec.Struct, frozen=True):
    """Settings and arguments that a configuration file gives to a comparison."""

    settings: dict[str, Setting]  # fields of `Config` that all runs share
    arguments: dict[str, Any]  # of `ComparisonArguments`, checked


def read_comparison_file(path: Path) -> ComparisonFile:
    """Return the settings and arguments that a TOML file gives to a comparison.

    Raises:
        InputNotFoundError: The file does not exist or cannot be read.
        DataError: It is not TOML.
        ConfigError: A key is unknown, or a value has the wrong type or range.
    """
    file = read_config_file(path)
    settings: dict[str, Setting] = {}
    arguments: dict[str, Any] = {}
    types = get_type_hints(ComparisonArguments, include_extras=True)
    fields = [name for name in Config.__struct_fields__ if name not in (*OWN_SETTINGS, "threads")]
    for key, value in file.values.items():
        if key in types:
            kind = str if key in LISTS else types[key]
            if key == "tasks" and isinstance(value, str):
                value = [value]
            try:
                converted = msgspec.convert(value, kind)
            except msgspec.ValidationError:
                raise file.value_error(key, describe_expected(kind)) from None
            arguments[key] = tuple(LISTS[key](converted)) if key in LISTS else converted
        elif key in fields:
            settings[key] = file.setting(key)
        elif key not in IGNORED:
            near = (*get_close_matches(key, types, n=1), nearest_field(key))[0]
            near = "" if near in (*OWN_SETTINGS, "threads") else near
            raise file.unknown_key_error(key, near, "charlm compare-cells")
    return ComparisonFile(settings, arguments)


def without_overridden_budget(
    settings: dict[str, Setting], minutes: float | None, file: ComparisonFile
) -> dict[str, Setting]:
    """Return the settings of a file without the budget that the minutes of a call replace."""
    if not minutes or file.arguments.get("minutes") == minutes:
        return settings
    return {name: value for name, value in settings.items() if name not in BUDGETS}
