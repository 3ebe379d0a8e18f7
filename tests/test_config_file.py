"""Tests of configuration files: keys, lines, errors, and settings of a run."""

from pathlib import Path

import pytest

from charlm.config import BUDGETS, Config, validate_config
from charlm.config_file import encode_toml, load_settings, read_config_file
from charlm.errors import CharlmError, ConfigError, DataError, InputNotFoundError
from charlm.presets import PRESETS

TRICKY = '''# cell = "rnn"
text = """
cell = "rnn"
"""
  "cell"="gru"  # the cell
list = [
 "seed = 4",
]
seed = 7
'''


def write(directory: Path, text: str | bytes) -> Path:
    path = directory / "run.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_lines_of_keys_are_not_those_within_values(tmp_path: Path) -> None:
    file = read_config_file(write(tmp_path, TRICKY))
    assert file.values["cell"] == "gru" and file.values["seed"] == 7
    assert file.lines == {"text": 2, "cell": 5, "list": 6, "seed": 9}
    windows = read_config_file(write(tmp_path, TRICKY.replace("\n", "\r\n")))
    assert windows.lines == file.lines


ERRORS: dict[str, tuple[str | bytes, type[CharlmError], str]] = {
    "unknown key": (
        "\nhiden_size = 3",
        ConfigError,
        r"cannot use hiden_size \(.*run.toml, line 2\): .* Try hidden_size$",
    ),
    "dash": ("hidden-size = 3", ConfigError, "line 1.*Try hidden_size$"),
    "alias": ("lr = 3", ConfigError, "line 1.*Try learning_rate$"),
    "nothing near": ("zzzz = 3", ConfigError, "zzzz.*line 1.*charlm train --help"),
    "text for a number": (
        'seed = "1"',
        ConfigError,
        r'cannot use seed = "1" \(.*run.toml, line 1\): it must be a whole number from 0',
    ),
    "fraction for a number": ("seed = 1.5", ConfigError, "seed = 1.5 .*whole number"),
    "boolean for a number": ("dropout = true", ConfigError, "dropout = true .*a number"),
    "number for a boolean": ("tie_weights = 1", ConfigError, "true or false"),
    "out of range": ("seed = 1\ndropout = 1.0", ConfigError, "dropout = 1.0 .*line 2.*below 1"),
    "not a number": ("dropout = nan", ConfigError, "dropout = nan .*line 1"),
    "unknown word": ('vocab = "words"', ConfigError, "one of bytes, chars"),
    "unknown threads": ('threads = "all"', ConfigError, 'threads = "all" .*or "auto"'),
    "unknown preset": ('preset = "minut"', ConfigError, r"line 1\): unknown preset .*minute"),
    "number for a preset": ("preset = 3", ConfigError, "preset.*line 1"),
    "table": ("[model]\ncell = 'gru'", ConfigError, "model .*line 1.*it is a table"),
    "dotted key": ("seed = 1\nmodel.cell = 'gru'", ConfigError, "model .*line 2.*it is a table"),
    "no TOML": ("seed = 1\ncell =", DataError, "run.toml: it is not TOML: .*line 2"),
    "same key twice": ("seed = 1\nseed = 2\n", DataError, "it is not TOML: .*line 2"),
    "no UTF-8": (b"seed = 1\n# \xff", DataError, "line 2 is not UTF-8"),
    "too long": ("#" * 1_000_001, DataError, "too long for settings"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_name_file_line_and_remedy(name: str, tmp_path: Path) -> None:
    text, kind, pattern = ERRORS[name]
    with pytest.raises(kind, match=pattern) as raised:
        load_settings(write(tmp_path, text))
    assert "\n" not in str(raised.value)


def test_missing_files_and_directories_that_are_no_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="none.toml: No such file.*Try a TOML file"):
        load_settings(tmp_path / "none.toml")
    with pytest.raises(InputNotFoundError, match="it is not a run"):
        load_settings(tmp_path)


def test_file_gives_settings_without_its_text(tmp_path: Path) -> None:
    path = write(tmp_path, 'text = "book.txt"\ncell = "gru"\nthreads = "auto"\nlearning_rate = 1')
    assert load_settings(path) == {"cell": "gru", "threads": 0, "learning_rate": 1.0}


def test_file_overrides_its_preset_and_its_budget(tmp_path: Path) -> None:
    path = write(tmp_path, 'preset = "minute"\nhidden_size = 8\nmax_steps = 5')
    settings = load_settings(path)
    assert settings["hidden_size"] == 8 and settings["cell"] == PRESETS["minute"].settings["cell"]
    assert [name for name in BUDGETS if settings.get(name)] == ["max_steps"]
    validate_config(settings)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_settings_with_one_budget(name: str) -> None:
    config = validate_config(PRESETS[name].settings)
    assert [budget for budget in BUDGETS if getattr(config, budget)] == ["characters"]


@pytest.mark.parametrize(
    "value", ["", 'a "b" \\ \n\t\x00\x7f é \u2028', True, 3, 1e-05, 0.0, 1e20, ["a", "b"]]
)
def test_encoded_values_are_read_again(value: object, tmp_path: Path) -> None:
    path = write(tmp_path, f"key = {encode_toml(value)}")
    assert read_config_file(path).values == {"key": value}


def test_every_default_is_a_value_of_a_file(tmp_path: Path) -> None:
    names = Config.__struct_fields__
    lines = [f"{name} = {encode_toml(getattr(Config(), name))}" for name in names]
    assert validate_config(load_settings(write(tmp_path, "\n".join(lines)))) == Config()
