"""Resolved settings of a run, each with its origin."""

from typing import Literal

import msgspec

# given: by the command line, a file, a preset or a run, which `place` names; recipe: of the cell;
# measured: by a timing; derived: from another setting.
SettingOrigin = Literal["default", "given", "recipe", "measured", "derived"]


class ResolvedSetting(msgspec.Struct, frozen=True, kw_only=True):
    """A setting with its value, and where that comes from."""

    name: str  # key in a configuration file
    value: bool | int | float | str | tuple[str, ...]  # texts of a list: sources of the text
    origin: SettingOrigin  # kind of place that the value comes from
    place: str = ""  # of a value that was given, such as "run.toml, line 3"
    resolved: str = ""  # what "auto" is on this machine


class ResolvedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of a run: result of `charlm config show`."""

    settings: tuple[ResolvedSetting, ...]
    cell: str  # name in tables
    parameters: int
    steps: int  # optimizer steps; measured if the budget is in minutes
    text_sha256: str
    weights_sha256: str | None = None  # of a finished run
