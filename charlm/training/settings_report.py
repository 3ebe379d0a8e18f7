"""Origins of the settings of a run: default, recipe, or where they were given."""

from collections.abc import Mapping

import msgspec

from charlm.cells.names import cell_label
from charlm.config import BUDGETS, DEFAULT_CHARACTERS, LEFT_OPEN, LEFT_TO_RECIPE, Config
from charlm.config_file import run_settings
from charlm.recipes import apply_recipe
from charlm.results.run import RunRecord
from charlm.results.settings import ResolvedSetting, ResolvedSettings, SettingOrigin
from charlm.runs.run import Run
from charlm.settings.values import Setting
from charlm.training.initial_weights import INHERITED


def describe_settings(
    record: RunRecord, requested: Config, text: tuple[str, ...], places: Mapping[str, str]
) -> ResolvedSettings:
    """Return the settings of a run that is not yet made.

    Args:
        record: Its settings with recipe and budget.
        requested: Its settings as they were given.
        text: Sources of its text as they were given.
        places: Name of a setting -> where it was given.
    """

    def origin(name: str, value: Setting) -> SettingOrigin:
        before = getattr(requested, name, value)
        if name in LEFT_OPEN and before == LEFT_OPEN[name]:
            return "recipe" if name in LEFT_TO_RECIPE else "measured"
        if name in places:
            return "given"
        return "default" if value == before or name in BUDGETS else "derived"

    initial = record.initial_weights
    values: dict[str, Setting] = msgspec.structs.asdict(record.config)
    if initial:
        inherited = [name for name in INHERITED if values[name] != getattr(Config(), name)]
        places = {**dict.fromkeys(inherited, initial.run), **places}
        values["init_from"] = initial.run
    if not any(values[name] for name in BUDGETS):
        values["characters"] = DEFAULT_CHARACTERS
    settings = [
        ResolvedSetting(
            name="text",
            value=text,
            origin="given" if "text" in places else "default",
            place=places.get("text", ""),
        )
    ]
    machine = {"device": record.environment.device, "kernel": record.kernel}
    for name, value in values.items():
        if name in BUDGETS and not value:
            continue
        kind = origin(name, value)
        settings.append(
            ResolvedSetting(
                name=name,
                value=value,
                origin=kind,
                place=places.get(name, "") if kind == "given" else "",
                resolved=machine.get(name, "") if value == "auto" else "",
            )
        )
    return _with_sizes(record, settings)


def describe_run_settings(run: Run) -> ResolvedSettings:
    """Return the settings that remake a run.

    A value that is that of the recipe, or the default, is named so, however it was given.
    """
    record, defaults = run.record, Config()
    config = record.config
    characters = record.max_steps * config.batch_size * config.seq_len
    left_open = msgspec.structs.replace(config, **LEFT_TO_RECIPE)
    recipe = apply_recipe(left_open, record.parameters, characters)

    def origin(name: str, value: object) -> SettingOrigin:
        if name in LEFT_TO_RECIPE and value == getattr(recipe, name):
            return "recipe"
        return "default" if value == getattr(defaults, name, None) else "given"

    settings = [
        ResolvedSetting(
            name=name,
            value=tuple(value) if name == "text" else value,
            origin=origin(name, value),
            place=str(run.path) if origin(name, value) == "given" else "",
        )
        for name, value in run_settings(record).items()
    ]
    report = run.report
    resolved = _with_sizes(record, settings)
    return msgspec.structs.replace(resolved, weights_sha256=report and report.weights_sha256)


def _with_sizes(record: RunRecord, settings: list[ResolvedSetting]) -> ResolvedSettings:
    return ResolvedSettings(
        settings=tuple(settings),
        cell=cell_label(record.config.cell),
        parameters=record.parameters,
        steps=record.max_steps,
        text_sha256=record.text.digest.sha256,
    )
