"""Options of `compare-cells` and what a configuration file gives to a program."""

from typing import Any

import msgspec
from typer.main import get_command

from charlm.cli.config_file import NOT_IN_FILES
from charlm.cli.main import app
from charlm.comparison.request import OWN_SETTINGS
from charlm.comparison.settings_file import IGNORED, ComparisonArguments
from charlm.config import Config


def test_file_for_a_program_may_have_what_the_command_takes() -> None:
    command: Any = get_command(app).commands["compare-cells"]  # type: ignore[attr-defined]
    options = {str(parameter.name) for parameter in command.params} - NOT_IN_FILES
    options = {"text" if name == "texts" else name for name in options}
    settings = set(Config.__struct_fields__) - {*OWN_SETTINGS, "threads"}
    assert options == settings | set(ComparisonArguments.__struct_fields__) | set(IGNORED)
    defaults = {parameter.name: parameter.default for parameter in command.params}
    for name, value in msgspec.structs.asdict(ComparisonArguments()).items():
        if name not in ("device", "out"):
            text = ",".join(value) if isinstance(value, tuple) else value
            is_repeated = name == "tasks"  # an option that may be given several times has no text
            assert defaults[name] == (None if is_repeated else text), name
