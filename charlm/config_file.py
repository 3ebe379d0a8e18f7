"""Configuration files in TOML: reading, line numbers, and the settings of a run directory.

A file is one flat table. Its keys are the names of options with underscores.
"""

import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import msgspec

from charlm.cells.names import parse_custom_cell
from charlm.config import BUDGETS, Config, option_metadata
from charlm.errors import ConfigError, DataError, InputNotFoundError
from charlm.presets import PRESETS, get_preset
from charlm.results.run import RunRecord
from charlm.settings.expected import describe_expected
from charlm.storage.json_files import read_json
from charlm.storage.reading import MissingFileError

MAX_BYTES = 1_000_000  # of a file: a longer one is not meant


class ConfigFile(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that a file or a run gives, by key."""

    path: str
    values: dict[str, Any]
    lines: dict[str, int] = {}  # key -> line, from 1; empty for a run

    def place(self, key: str) -> str:
        """Return where a value comes from, such as "run.toml, line 3"."""
        return f"{self.path}, line {self.lines[key]}" if key in self.lines else self.path

    def unknown_key_error(self, key: str, near: str, command: str = "charlm train") -> ConfigError:
        """Return the error for a key that is no option.

        Args:
            key: Key of the file.
            near: The option that was probably meant, or "".
            command: Command that would use the file.
        """
        remedy = f"Try {near}" if near else f"Try `{command} --help` for their names"
        return ConfigError(
            f"cannot use {key} ({self.place(key)}): {command} has no such setting. {remedy}"
        )

    def value_error(self, key: str, expected: str) -> ConfigError:
        """Return the error for a value of the wrong type or range."""
        return ConfigError(
            f"cannot use {key} = {encode_toml(self.values[key])} ({self.place(key)}): it must be "
            f"{expected}. Try another value"
        )

    def setting(self, key: str) -> Any:
        """Return the value of a field of `Config`.

        Raises:
            ConfigError: It has the wrong type, is out of range, or is an unknown cell.
        """
        value = self.values[key]
        if isinstance(value, str):
            value = option_metadata(key).words.get(value, value)
        annotation = get_type_hints(Config, include_extras=True)[key]
        try:
            converted = msgspec.convert(value, annotation)
            if key == "cell":
                parse_custom_cell(converted)
            return converted
        except ConfigError as error:
            raise ConfigError(f"cannot use {key} ({self.place(key)}): {error}") from None
        except msgspec.ValidationError:
            words = "".join(f", or {encode_toml(word)}" for word in option_metadata(key).words)
            raise self.value_error(key, describe_expected(annotation) + words) from None


def read_config_file(path: Path) -> ConfigFile:
    """Return the settings of a TOML file, or of a run directory.

    Values are checked when they are used, since each command has its own options.

    Raises:
        InputNotFoundError: It does not exist or cannot be read.
        DataError: It is not UTF-8, or not TOML; the message names the line.
        ConfigError: It is not one flat table.
    """
    if path.is_dir():
        return ConfigFile(path=str(path), values=read_run_settings(path))
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputNotFoundError(
            f"cannot read {path}: {error.strerror}. Try a TOML file, or a run"
        ) from error
    if len(data) > MAX_BYTES:
        raise DataError(f"cannot read {path}: it is too long for settings. Try a TOML file")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"cannot read {path}: line {line} is not UTF-8. Try to save it as UTF-8"
        ) from error
    try:
        values = tomllib.loads(f"{text}\n")  # errors at the very end would have no line
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"cannot read {path}: it is not TOML: {error}. Try lines such as hidden_size = 256"
        ) from error
    result = ConfigFile(path=str(path), values=values, lines=find_lines(text, values))
    for key, value in values.items():
        if isinstance(value, dict):
            raise ConfigError(
                f"cannot use {key} ({result.place(key)}): it is a table, and settings are one flat "
                "table. Try its keys without it"
            )
    return result


def find_lines(text: str, keys: Mapping[str, Any]) -> dict[str, int]:
    """Return the line of each key of a TOML document that is well-formed.

    A key begins a statement exactly where the lines before it are a whole document: within a text
    or list of several lines they are none.

    Args:
        text: Document.
        keys: Its keys at the top.
    """
    found: dict[str, int] = {}
    lines = text.replace("\r\n", "\n").split("\n")
    for key in keys:
        spellings = "|".join((re.escape(key), re.escape(f'"{key}"'), re.escape(f"'{key}'")))
        begins = re.compile(rf"[ \t]*\[{{0,2}}[ \t]*(?:{spellings})[ \t]*[=.\]]")
        candidates = (index for index, line in enumerate(lines) if begins.match(line))
        index = next((index for index in candidates if _is_toml("\n".join(lines[:index]))), None)
        if index is not None:
            found[key] = index + 1
    return found


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def read_run_settings(path: Path) -> dict[str, Any]:
    """Return the settings that remake a run, with its text, steps, kernel and device.

    Raises:
        InputNotFoundError: The directory is not a run.
        DataError: `run.json` is damaged.
    """
    try:
        return run_settings(read_json(path / "run.json", RunRecord))
    except MissingFileError:
        raise InputNotFoundError(
            f"cannot read settings from {path}: it is not a run. Try a TOML file, or a directory "
            "made by charlm train"
        ) from None


def run_settings(record: RunRecord) -> dict[str, Any]:
    """Return the settings that remake a run, by key."""
    settings = msgspec.structs.asdict(record.config)
    resolved = {
        "max_steps": record.max_steps,
        "kernel": record.kernel,
        "device": record.environment.device,
        "threads": record.environment.threads,
    }
    settings = {name: value for name, value in settings.items() if name not in BUDGETS}
    if record.initial_weights:
        settings["init_from"] = record.initial_weights.run
    return {"text": list(record.text.sources), **settings, **resolved}


class InitialRun(NamedTuple):
    """Run that gives initial weights, as settings name it; empty for new weights."""

    run: str = ""
    weights_sha256: str = ""  # that a run has recorded; a TOML file has none


def read_initial_run(path: Path) -> InitialRun:
    """Return the run whose weights the settings of a file or a run start from.

    Raises:
        InputNotFoundError: It does not exist or cannot be read.
        DataError: It is not TOML, or the run is damaged.
        ConfigError: The value is no text.
    """
    if path.is_dir():
        file = path / "run.json"
        initial = read_json(file, RunRecord).initial_weights
        return InitialRun(initial.run, initial.weights_sha256) if initial else InitialRun()
    settings = read_config_file(path)
    name = settings.values.get("init_from", "")
    if not isinstance(name, str):
        raise settings.value_error("init_from", "a run")
    return InitialRun(name)


def load_settings(path: str | Path) -> dict[str, Any]:
    """Return the settings of a file or a run for a program: fields of `Config` by name.

    The text that the file names is left out, since a program gives it. So is the run that it starts
    from: see `read_initial_run`.

    Raises:
        InputNotFoundError: The file does not exist or cannot be read.
        DataError: It is not TOML.
        ConfigError: A key is unknown, or a value has the wrong type or range.
    """
    file = read_config_file(Path(path))
    settings: dict[str, Any] = {}
    if "preset" in file.values:
        preset = file.values["preset"]
        if not isinstance(preset, str):
            raise file.value_error("preset", f"one of {', '.join(PRESETS)}")
        try:
            settings = dict(get_preset(preset).settings)
        except ConfigError as error:
            raise ConfigError(f"cannot use preset ({file.place('preset')}): {error}") from None
    for key in file.values:
        if key in Config.__struct_fields__:
            settings[key] = file.setting(key)
        elif key not in ("text", "preset", "init_from"):
            raise file.unknown_key_error(key, nearest_field(key))
    if file_budgets := [name for name in BUDGETS if file.values.get(name)]:
        settings = {
            name: value
            for name, value in settings.items()
            if name not in BUDGETS or name in file_budgets
        }
    return settings


def nearest_field(key: str) -> str:
    """Return the field of `Config` that was probably meant, or ""."""
    name = key.replace("-", "_")
    fields = Config.__struct_fields__
    spellings = {s.lstrip("-"): field for field in fields for s in option_metadata(field).aliases}
    near = get_close_matches(name, fields, n=1)
    return spellings.get(name, near[0] if near else "")


def encode_toml(value: object) -> str:
    """Return a value as TOML."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(encode_toml, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # TOML has the escapes of JSON, and does not allow the delete character either.
        return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
    return str(value)
